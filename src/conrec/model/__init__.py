"""The front door: `conrec.fit` and `conrec.load`."""

from conrec.model.fitting import fit
from conrec.model.model import Model, load

__all__ = ["Model", "fit", "load"]
