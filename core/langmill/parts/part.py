"""What every part is: options in a recipe, and nothing else that can change."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """Anything a recipe names with ``use:``. Closed and frozen; what a part learns lives in private attributes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
