"""Surfaces with known minima, saddles and barriers."""

import numpy as np


class Analytic:
    """A surface without an edge from formulas of its value and gradient."""

    def bring_back(self, points):
        return np.array(points, float), 0


class DoubleWell(Analytic):
    """(x^2 - 1)^2 * 3 + 2 (y - 0.5 x^2)^2: minima at (+-1, 0.5), saddle (0, 0), barrier 3."""

    minima = np.array([[-1.0, 0.5], [1.0, 0.5]])
    saddle = np.array([0.0, 0.0])
    barrier = 3.0

    def values(self, p):
        x, y = p.T
        return 3 * (x**2 - 1) ** 2 + 2 * (y - 0.5 * x**2) ** 2

    def gradients(self, p):
        x, y = p.T
        across = 4 * (y - 0.5 * x**2)
        return np.stack([12 * x * (x**2 - 1) - across * x, across], 1)


class MuellerBrown(Analytic):
    """Mueller and Brown (1979), scaled to kT-like heights; numbers from the literature."""

    scale = 0.1
    minima = np.array([[-0.558224, 1.441726], [-0.050011, 0.466694], [0.623499, 0.028038]])
    saddles = np.array([[-0.822002, 0.624313], [0.212487, 0.292988]])
    heights = scale * np.array([-146.699517, -80.767818, -108.166724])
    saddle_heights = scale * np.array([-40.664843, -72.248940])

    def _terms(self, p):
        x, y = p[:, :1], p[:, 1:]
        size = np.array([-200.0, -100.0, -170.0, 15.0]) * self.scale
        a, b, c = (
            np.array([-1, -1, -6.5, 0.7]),
            np.array([0, 0, 11, 0.6]),
            np.array([-10, -10, -6.5, 0.7]),
        )
        u, v = x - np.array([1, 0, -0.5, -1]), y - np.array([0, 0.5, 1.5, 1])
        terms = size * np.exp(a * u * u + b * u * v + c * v * v)
        return terms, 2 * a * u + b * v, b * u + 2 * c * v

    def values(self, p):
        return self._terms(p)[0].sum(1)

    def gradients(self, p):
        terms, du, dv = self._terms(p)
        return np.stack([(terms * du).sum(1), (terms * dv).sum(1)], 1)


class ThreeBasins(Analytic):
    """A ring of radius 1 with three basins: 5 (r^2 - 1)^2 + 1 - cos(3 phi).

    Minima at phi = 0, 120 and 240 degrees, saddles between them, barriers 2.
    """

    minima = np.array([[np.cos(a), np.sin(a)] for a in np.radians([0, 120, 240])])
    saddles = np.array([[np.cos(a), np.sin(a)] for a in np.radians([60, 180, 300])])
    barrier = 2.0

    def values(self, p):
        r2, phi = (p**2).sum(1), np.arctan2(p[:, 1], p[:, 0])
        return 5 * (r2 - 1) ** 2 + 1 - np.cos(3 * phi)

    def gradients(self, p):
        x, y = p.T
        r2, phi = x**2 + y**2, np.arctan2(y, x)
        turn = 3 * np.sin(3 * phi) / r2
        return np.stack([20 * (r2 - 1) * x - turn * y, 20 * (r2 - 1) * y + turn * x], 1)
