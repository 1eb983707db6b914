"""Annotated types for the options of a plugin; the host validates them with pydantic.

Importing this module does not import torch.
"""

from typing import Annotated

from pydantic import Field

Rate = Annotated[float, Field(ge=0, lt=1, description="fraction pruned or withheld, in [0, 1)")]
Share = Annotated[float, Field(ge=0, le=1, description="a share, in [0, 1]")]
Positive = Annotated[float, Field(gt=0)]
Factor = Annotated[float, Field(ge=1, description="a factor of at least 1")]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1, description="a whole number, at least 1")]
Index = Annotated[int, Field(ge=0, description="a whole number, at least 0")]
