import importlib
import sys
from pathlib import Path

import pytest

from dm2.backends.protobuf_loader import file_descriptor, load_s2clientprotocol
from dm2.core.errors import UserError


def test_the_descriptor_of_an_old_module_is_found(tmp_path: Path) -> None:
    module = tmp_path / "old_pb2.py"
    module.write_text("DESCRIPTOR = d.FileDescriptor(name='old', serialized_pb=_b('\\n\\x03old\\xff'))\n")
    assert file_descriptor(module) == b"\n\x03old\xff"


def test_a_module_of_another_kind_is_refused(tmp_path: Path) -> None:
    module = tmp_path / "new_pb2.py"
    module.write_text("DESCRIPTOR = pool.AddSerializedFile(b'new')\n")
    with pytest.raises(UserError, match=r"new_pb2.py: found no serialized_pb"):
        file_descriptor(module)


def test_protobuf_that_takes_the_modules_is_left_alone(packages: Path) -> None:
    load_s2clientprotocol()
    assert "s2clientprotocol.sc2api_pb2" not in sys.modules


def test_messages_go_round_with_current_protobuf() -> None:
    pytest.importorskip("google.protobuf")
    pytest.importorskip("s2clientprotocol")
    load_s2clientprotocol()
    load_s2clientprotocol()  # the second time nothing happens
    messages = importlib.import_module("s2clientprotocol.sc2api_pb2")
    raw = importlib.import_module("s2clientprotocol.raw_pb2")
    assert messages.VeryHard == 7
    response = messages.ResponseObservation()
    response.observation.raw_data.units.add(tag=5, alliance=raw.Enemy).pos.x = 1.5
    copy = messages.ResponseObservation.FromString(response.SerializeToString())
    assert copy.observation.raw_data.units[0].pos.x == 1.5
    assert copy == response
