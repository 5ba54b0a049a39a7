"""A predictor for Cog, with its import line changed."""

from __future__ import annotations

from local_runtime.cog import BasePredictor, Input


class Predictor(BasePredictor):
    def setup(self) -> None:
        self.mark = "!"

    def predict(self, text: str, times: int = Input(default=1, ge=1, le=5)) -> str:
        return text.upper() + self.mark * times
