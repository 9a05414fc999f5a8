r"""Studies: grids of training runs, with tables, fitted laws and figures of their results."""

from .design.ranges import log_range
from .execution.execute import process_pool
from .execution.forecast import StudyEstimate
from .execution.status import StudyStatus
from .figures.lines import heat, lines
from .laws.fits import fit_laws, fit_powers
from .laws.laws import Law, Laws, Powers, Solution
from .study import Study

__all__ = [
    "Law",
    "Laws",
    "Powers",
    "Solution",
    "Study",
    "StudyEstimate",
    "StudyStatus",
    "fit_laws",
    "fit_powers",
    "heat",
    "lines",
    "log_range",
    "process_pool",
]
