"""How long a training takes, where it is minutes that are limited: cheap networks then bring more for the same minutes.

The gain is divided by a power of the seconds (GuidedRules.cost_exponent). 1 is the improvement per second of Snoek, Larochelle,
Adams ("Practical Bayesian Optimization of Machine Learning Algorithms", NIPS 2012, section 3.2); less than 1 cools the cost, so
that large networks are trained, too (Lee et al., "Cost-aware Bayesian Optimization", arXiv 2003.10870).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import nnls

from edgenas.methods.guided_model import Array
from edgenas.records import Trial

TIMED = 3  # trainings by which it is known how long others take


def seconds_of(macs: Array, epochs: Array, trials: Sequence[Trial]) -> Array:
    """(m,) MACs and epochs of m trainings -> (m,) seconds that each is expected to take. An epoch's are a line over MACs through
    these trials, neither term of which is negative and whose errors count relative to the seconds. Ones, where there are fewer
    than TIMED of them."""
    trained = [trial for trial in trials if trial.status == "complete" and trial.seconds > 0]
    if len(trained) < TIMED:
        return np.ones(len(macs))
    seconds = np.array([trial.seconds / trial.candidate.recipe.epochs for trial in trained])
    known = np.array([[1.0, trial.cost.macs] for trial in trained])
    terms, _ = nnls(known / seconds[:, None], np.ones(len(trained)))
    return np.asarray(epochs * (terms[0] + terms[1] * macs))
