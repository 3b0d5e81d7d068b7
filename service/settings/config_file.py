"""Settings from a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service.settings.catalog import FILE_SUFFIX, SettingInfo, catalog, groups, suggestion
from service.settings.raw_values import RawSettings, RawValue

MAX_CONFIG_BYTES = 1024 * 1024


def read_config_file(path: Path) -> RawSettings:
    """Return what the file sets. A file that cannot be read is one of the problems."""
    found = RawSettings()
    try:
        with path.open("rb") as opened:
            content = opened.read(MAX_CONFIG_BYTES + 1)
        if len(content) > MAX_CONFIG_BYTES:
            found.problems.append(f"{path}: the file has more than {MAX_CONFIG_BYTES} bytes")
            return found
        tree = tomllib.loads(content.decode("utf-8-sig"))
    except OSError as error:
        found.problems.append(f"cannot read the configuration {path}: {error.strerror}")
    except UnicodeDecodeError:
        found.problems.append(f"{path}: the file is not UTF-8 text")
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        found.problems.append(f"{path}: not TOML: {error}")
    else:
        _ConfigReader(found, path).read(tree, ())
    return found


class _ConfigReader:
    """Reads the tree of one file into `found`."""

    def __init__(self, found: RawSettings, path: Path) -> None:
        self._found = found
        self._file = path
        self._settings = {info.path: info for info in catalog()}
        self._files = {
            (*info.path[:-1], info.path[-1] + FILE_SUFFIX): info
            for info in catalog()
            if info.is_secret
        }

    def read(self, tree: Mapping[str, Any], above: tuple[str, ...]) -> None:
        """Read a table of the file, which has the keys `above` it."""
        for name, value in tree.items():
            path = (*above, name)
            key = ".".join(path)
            where = f"{self._file}: {key}"
            if path in groups():
                if isinstance(value, Mapping):
                    self.read(value, path)
                else:
                    self._found.problems.append(f"{where} is a table: write [{key}]")
            elif path in self._settings:
                self._read_value(where, value, self._settings[path])
            elif path in self._files:
                self._read_file(where, value, self._files[path])
            else:
                # A table can only be meant for a group, anything else only for a setting.
                paths = groups() if isinstance(value, Mapping) else (*self._settings, *self._files)
                known = [".".join(each) for each in paths if each]
                self._found.problems.append(f"{where} is not a setting{suggestion(key, known)}")

    def _read_value(self, where: str, value: Any, info: SettingInfo) -> None:
        if isinstance(value, str) and not value.strip() and not info.may_be_blank:
            self._found.problems.append(f"{where} is blank: give it a value, or leave it out")
        elif isinstance(value, bool) and info.field.annotation is not bool:
            self._found.problems.append(f"{where} is {str(value).lower()}, which is not its type")
        elif info.path in self._found.values:
            self._found.problems.append(f"{where} and {info.key}_file are both set: set one")
        else:
            value = self._found.resolve_files(where, info.item_model, value)
            self._found.values[info.path] = RawValue(value, f"file {self._file}")

    def _read_file(self, where: str, file: Any, info: SettingInfo) -> None:
        if not isinstance(file, str) or not file.strip():
            self._found.problems.append(f"{where} must be the path of a file")
        elif info.path in self._found.values:
            self._found.problems.append(f"{where} and {info.key} are both set: set one")
        else:
            text = self._found.read_secret(where, file)
            if text is not None:
                self._found.set_text(where, text, info, f"file {file} ({self._file})")
