"""The references that work with this program should cite."""

from __future__ import annotations

from dataclasses import dataclass

from alphacryo4d import __version__


@dataclass(frozen=True)
class Reference:
    """One reference.

    Attributes
    ----------
    key, kind : str
        BibTeX key and entry type.
    why : str
        When to cite it.
    fields : tuple of (str, str)
        BibTeX fields in order.
    """

    key: str
    kind: str
    why: str
    fields: tuple[tuple[str, str], ...]

    @property
    def bibtex(self) -> str:
        """Entry for a ``.bib`` file."""
        lines = [f"  {name} = {{{value}}}" for name, value in self.fields]
        return f"@{self.kind}{{{self.key},\n" + ",\n".join(lines) + "\n}"

    @property
    def text(self) -> str:
        """One paragraph of plain text."""
        field = dict(self.fields)
        where = field.get("journal", field.get("publisher", ""))
        volume = f" {field['volume']}" if "volume" in field else ""
        pages = f", {field['pages']}" if "pages" in field else ""
        link = f" https://doi.org/{field['doi']}" if "doi" in field else ""
        authors = field["author"].replace(" and ", ", ")
        place = f" {where}{volume}{pages}." if where else ""
        return f"{authors} ({field['year']}). {field['title']}.{place}{link}".strip()


REFERENCES = (
    Reference(
        "wu2022alphacryo4d",
        "article",
        "always: the method",
        (
            (
                "author",
                "Wu, Zhaolong and Chen, Enbo and Zhang, Shuwen and Ma, Yinping and Mao, Youdong",
            ),
            (
                "title",
                "Visualizing Conformational Space of Functional Biomolecular Complexes by Deep "
                "Manifold Learning",
            ),
            ("journal", "International Journal of Molecular Sciences"),
            ("year", "2022"),
            ("volume", "23"),
            ("number", "16"),
            ("pages", "8872"),
            ("doi", "10.3390/ijms23168872"),
        ),
    ),
    Reference(
        "alphacryo4d",
        "software",
        "always: this program",
        (
            ("author", "{The AlphaCryo4D developers}"),
            ("title", f"AlphaCryo4D, version {__version__}"),
            ("year", "2026"),
        ),
    ),
    Reference(
        "scheres2012relion",
        "article",
        "where RELION classified, reconstructed or refined",
        (
            ("author", "Scheres, Sjors H. W."),
            (
                "title",
                "RELION: Implementation of a Bayesian approach to cryo-EM structure determination",
            ),
            ("journal", "Journal of Structural Biology"),
            ("year", "2012"),
            ("volume", "180"),
            ("number", "3"),
            ("pages", "519-530"),
            ("doi", "10.1016/j.jsb.2012.09.006"),
        ),
    ),
    Reference(
        "vandermaaten2008tsne",
        "article",
        "where the embedding is t-SNE (the default)",
        (
            ("author", "van der Maaten, Laurens and Hinton, Geoffrey"),
            ("title", "Visualizing Data using t-SNE"),
            ("journal", "Journal of Machine Learning Research"),
            ("year", "2008"),
            ("volume", "9"),
            ("pages", "2579-2605"),
        ),
    ),
    Reference(
        "e2007string",
        "article",
        "where a minimum-energy path is shown",
        (
            ("author", "E, Weinan and Ren, Weiqing and Vanden-Eijnden, Eric"),
            (
                "title",
                "Simplified and improved string method for computing the minimum energy paths in "
                "barrier-crossing events",
            ),
            ("journal", "The Journal of Chemical Physics"),
            ("year", "2007"),
            ("volume", "126"),
            ("number", "16"),
            ("pages", "164103"),
            ("doi", "10.1063/1.2720838"),
        ),
    ),
    Reference(
        "he2016resnet",
        "inproceedings",
        "where deep features are used: the residual blocks",
        (
            ("author", "He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian"),
            ("title", "Deep Residual Learning for Image Recognition"),
            ("booktitle", "IEEE Conference on Computer Vision and Pattern Recognition (CVPR)"),
            ("year", "2016"),
            ("pages", "770-778"),
            ("doi", "10.1109/CVPR.2016.90"),
        ),
    ),
)
