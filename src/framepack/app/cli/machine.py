"""From the options of a command line to what a job, or a service's workers, may use of the machine."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from framepack.app.machine import check_devices, has_gpu
from framepack.app.settings import Settings
from framepack.spec.machine import MachineOptions, ServiceOptions

if TYPE_CHECKING:
    from framepack.jobs.pool import PoolConfig

Options = TypeVar("Options", bound=MachineOptions)
TARGET = "framepack.app.service.worker_target:make_generator"


def machine_of(asked: Mapping[str, Any], kind: type[Options], *, pretended: bool = False) -> Options:
    """The options that were given, and the environment's folder of models. ValueError for what means nothing here.

    pretended: for a GPU that is not here.
    """
    machine = kind.model_validate(asked)
    devices = [machine.device] if isinstance(machine.device, str) else machine.device or ["auto"]
    if machine.preserve and not pretended and not has_gpu(devices):
        raise ValueError("there is no GPU here, so there is no GPU memory to leave free: leave out --preserve")
    return machine.model_copy(update={"models_dir": machine.models_dir or Settings.from_environment().models_dir})


def pool_config(machine: ServiceOptions) -> "PoolConfig":
    """One worker for each device. ValueError for a device or a folder that is not here."""
    from framepack.jobs.pool import PoolConfig

    check_devices(machine.device)
    if machine.models_dir is not None and not machine.models_dir.is_dir():
        raise ValueError(f"{machine.models_dir} is not a folder: --models-dir must name one that holds models")
    common = machine.model_dump(mode="json", exclude={"device", "in_process"}, exclude_none=True)
    if machine.models_dir is not None:
        common["models_dir"] = str(machine.models_dir.absolute())
    workers = [{**common, "device": name} for name in machine.device or ["auto"]]
    return PoolConfig(target=TARGET, workers=workers, in_process=machine.in_process)


def typed(names: Iterable[str]) -> list[str]:
    """Options as they are typed."""
    return [f"--{name.replace('_', '-')}" for name in names]
