"""Options of the deepfeature stage; defaults are the paper's (Tables 1 and 2)."""

from __future__ import annotations

from dataclasses import dataclass, field

from alphacryo4d.core.help import SPEED
from alphacryo4d.core.settings import described, require_setting, setting


@described
@dataclass(frozen=True)
class NetworkOptions:
    """What rebuilds the autoencoder (Table 1), apart from the box size of its volumes."""

    wide_filters: int = setting(2, "Filters of the layers at the full and half box (Table 1).")
    narrow_filters: int = setting(
        1, "Filters of the encoding and its neighbours: channels of a feature map (Table 1)."
    )
    centred: bool = setting(
        True, "Code each volume by its difference from the mean of the training volumes."
    )
    momentum: float = setting(0.9, "Momentum of the batch statistics used for inference.")

    def __post_init__(self) -> None:
        require_setting(self.wide_filters >= 1, "--wide-filters must be at least 1")
        require_setting(self.narrow_filters >= 1, "--narrow-filters must be at least 1")
        require_setting(0 <= self.momentum < 1, "--momentum must be in [0, 1)")


@described
@dataclass(frozen=True)
class TrainOptions:
    """How the autoencoder is trained (sections 4.2 and 4.3)."""

    epochs: int = setting(50, "Epochs at most.", flags=("--epochs", "--epoch"), group=SPEED)
    batch_size: int = setting(
        8, "Volumes in one training step.", flags=("--batch-size", "--batchsize"), group=SPEED
    )
    validation_size: int | None = setting(
        None,
        "Volumes held out for validation; a tenth of all by default.",
        flags=("--validation-size", "--validationsize"),
        type=int,
        group=SPEED,
    )
    regularization: float = setting(
        0.0,
        "L2 coefficient of the weights (eq. 2); the paper takes 0.001 for experimental data.",
        group=SPEED,
    )
    learning_rate: float = setting(0.01, "Initial rate of Adam.")
    factor: float = setting(0.1, "Factor on the rate when the held-out error stops improving.")
    patience: int = setting(3, "Epochs without improvement before the rate is lowered.")
    minimum_epochs: int = setting(15, "Epochs before an early stop.")
    early_stop: bool = setting(
        True, "Stop when the rate has been lowered twice without improvement."
    )

    def __post_init__(self) -> None:
        require_setting(self.epochs >= 1, "--epochs must be at least 1")
        require_setting(self.batch_size >= 1, "--batch-size must be at least 1")
        require_setting(
            self.validation_size is None or self.validation_size >= 1,
            "--validation-size must be at least 1",
        )
        require_setting(self.regularization >= 0, "--regularization must not be negative")
        require_setting(self.learning_rate > 0, "--learning-rate must be positive")
        require_setting(0 < self.factor < 1, "--factor must be between 0 and 1")
        require_setting(self.patience >= 1, "--patience must be at least 1")
        require_setting(self.minimum_epochs >= 1, "--minimum-epochs must be at least 1")


@described
@dataclass(frozen=True)
class DeepFeatureOptions:
    """Options of the whole stage."""

    network: NetworkOptions = field(default_factory=NetworkOptions)
    train: TrainOptions = field(default_factory=TrainOptions)
