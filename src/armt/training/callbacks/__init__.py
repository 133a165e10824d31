"""What is told how a training goes, one listener a file."""

from armt.training.callbacks.curves import Curves
from armt.training.callbacks.log import TrainingLog
from armt.training.callbacks.progress import TrainingProgress
from armt.training.callbacks.trackers import Trackers

__all__ = ["Curves", "Trackers", "TrainingLog", "TrainingProgress"]
