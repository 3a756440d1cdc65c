"""All steps of the prototype in one go (``Auto4D.py``)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from alphacryo4d.core import files
from alphacryo4d.deepfeature.options import TrainOptions
from alphacryo4d.deepfeature.volumes_stage import prepare_volumes
from alphacryo4d.landscape.options import PathOptions
from alphacryo4d.prototype.features import predict_features, train_model
from alphacryo4d.prototype.manifold import (
    cluster_volumes,
    embed_rows,
    join_features,
    path_centers,
)
from alphacryo4d.prototype.maps import collect_maps, count_particles


def run_all(**values: Any) -> None:
    """Collect, train, embed, find the path and cluster, by the switches of ``Auto4D.py``."""
    here = Path()
    train = TrainOptions(
        epochs=values["epoch"],
        batch_size=values["batchsizetrain"],
        validation_size=values["validationsize"],
        regularization=values["regularization"],
    )
    path = PathOptions(
        start=tuple(values["start"]),
        end=tuple(values["end"]),
        stepsize=values["stepsize"],
        stepmax=values["stepmax"],
        tolerance=values["tolerance"],
        range=values["range"],
    )
    collect_maps(values["folder"], here, standardize=values["std"])
    count_particles(values["stars"], Path("data.log"), Path(values["number"]))
    deep, manifold, vote = Path("Deep"), Path("Manifold"), Path("Vote")
    data = prepare_volumes(Path("rdata_3d.npy"), deep / "data_dl.npy")
    model = deep / "checkpoint" / "check.h5"
    train_model(
        data,
        options=train,
        checkpoint=model,
        final_model=deep / "model" / "final_model.h5",
        gpu=values["gpu"],
        seed=values["seed"],
        process=deep / "train_process.npz",
    )
    feature = predict_features(
        data,
        model=model,
        batch_size=values["batchsizepredict"],
        output=deep / "result" / "feature.npy",
    )
    joined = join_features(Path("rdata.npy"), feature, manifold / "input.npy")
    embedding = manifold / values["outputtsne"]
    embed_rows(
        joined,
        embedding,
        manifold / "tsne.png",
        perplexity=values["perplexity"],
        iterations=values["niter"],
        seed=values["seed"],
    )
    with files.atomic_path(Path(values["outputtsne"])) as temporary:
        shutil.copyfile(embedding, temporary)
    landscape, centers = Path(values["landscape"]), Path("centers_k.npy")
    path_centers(
        landscape,
        Path(values["number"]),
        centers,
        Path("el.pdf"),
        options=path,
        interpolate=values["interpolate"],
        centers=values["kcenters"],
    )
    cluster_volumes(landscape, centers, values["radius"], vote)
