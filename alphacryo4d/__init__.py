"""AlphaCryo4D: conformational landscapes and voted states from cryo-EM particles."""

__version__ = "0.1.0"
