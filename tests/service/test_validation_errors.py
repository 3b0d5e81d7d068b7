"""pydantic's errors as text, without the values."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, Field, SecretStr, ValidationError, model_validator

from service.validation_errors import all_errors, first_error


class SampleModel(BaseModel):
    """A model with fields of several kinds."""

    count: int = Field(1, gt=0)
    secret: SecretStr = SecretStr("")
    sizes: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _check(self):
        if self.count == 13:
            raise ValueError("the count must not be 13")
        return self


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"count": 0}, "count: Input should be greater than 0"),
        ({"sizes": (1, "x"), "count": 0}, "count: Input should be greater than 0"),
        ({"count": 13}, "the count must not be 13"),
    ],
)
def test_the_first_error_names_its_field(values, expected):
    with pytest.raises(ValidationError) as caught:
        SampleModel.model_validate(values)
    assert expected == first_error(caught.value)


def test_all_errors_name_their_fields_and_no_values():
    with pytest.raises(ValidationError) as caught:
        SampleModel.model_validate({"count": 0, "secret": ["hunter2"], "sizes": ["x"]})
    text = all_errors(caught.value)
    assert ["count", "secret", "sizes.0"] == [part.split(":")[0] for part in text.split("; ")]
    assert "hunter2" not in text
