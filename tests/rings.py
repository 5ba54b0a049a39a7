"""The quick ring of the suite: the tests that run in their own process alone, in a minute together.

A test is in it unless its file, or its folder, is listed here, for the processes that it starts or
for the seconds that it takes. One that starts a process and is not listed fails: so the ring stays
what it is, and no new test is left out of it by being forgotten.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

TESTS = Path(__file__).parent
STARTS_A_PROCESS = frozenset(
    {"subprocess.Popen", "os.posix_spawn", "os.fork", "os.forkpty", "os.system"}
)
"""As sys.addaudithook knows them."""
HARMLESS = "subprocess.Popen uname"
"""The standard library's platform module, once a process."""

OUTER = (
    "adapters/cog",
    "adapters/http/test_interleavings.py",
    "adapters/huggingface",
    "adapters/local",
    "adapters/modal/test_functions.py",
    "adapters/openai/test_llamacpp.py",
    "adapters/potassium/test_genuine.py",
    "adapters/potassium/test_jobs.py",
    "adapters/replicate/test_client.py",
    "adapters/runpod/test_pitfalls.py",
    "adapters/test_contract.py",
    "adapters/test_long_running.py",
    "adapters/test_third_party.py",
    "agreement",
    "benchmarks/test_accounting.py",
    "benchmarks/test_adapters.py",
    "benchmarks/test_contenders.py",
    "benchmarks/test_gpu.py",
    "benchmarks/test_money.py",
    "benchmarks/test_reports.py",
    "benchmarks/test_streams.py",
    "bootstrap",
    "deploy/test_caddy.py",
    "deploy/test_kustomize.py",
    "deploy/test_nginx.py",
    "deploy/test_unit.py",
    "e2e",
    "examples/test_embeddings.py",
    "examples/test_images.py",
    "examples/test_overflow.py",
    "examples/test_overflow_bill.py",
    "examples/test_reports.py",
    "examples/test_textgen.py",
    "gateway/archive/test_archivist.py",
    "gateway/batches/test_batch_kills.py",
    "gateway/cli/test_beside.py",
    "gateway/cli/test_commands.py",
    "gateway/cli/test_completion.py",
    "gateway/cli/test_on_a_terminal.py",
    "gateway/cli/test_probe.py",
    "gateway/cli/upkeep/test_init.py",
    "gateway/console/test_replayed.py",
    "gateway/events/test_budgets.py",
    "gateway/events/test_keeping.py",
    "gateway/events/test_key_endings.py",
    "gateway/events/test_sender.py",
    "gateway/jobs/test_kills.py",
    "gateway/jobs/test_seeds.py",
    "gateway/jobs/test_taken_over.py",
    "gateway/reserve/test_hooks.py",
    "gateway/schedules/test_schedule_kills.py",
    "gateway/storage/policies",
    "gateway/storage/postgres",
    "gateway/storage/redis/test_catch_up.py",
    "gateway/storage/redis/test_client.py",
    "gateway/storage/redis/test_emptied_while_late.py",
    "gateway/storage/redis/test_filled_while_away.py",
    "gateway/storage/redis/test_fills_between.py",
    "gateway/storage/redis/test_groups.py",
    "gateway/storage/redis/test_store.py",
    "gateway/storage/rented",
    "gateway/storage/responses",
    "gateway/storage/rollups/test_first_form.py",
    "gateway/storage/rollups/test_spending.py",
    "gateway/storage/schedules",
    "gateway/storage/sqlite/test_keys.py",
    "gateway/storage/sqlite/test_ledger_failures.py",
    "gateway/storage/stored",
    "gateway/storage/streams",
    "gateway/storage/test_audit.py",
    "gateway/storage/test_calls.py",
    "gateway/storage/test_client_tokens.py",
    "gateway/storage/test_jobs.py",
    "gateway/storage/test_key_store.py",
    "gateway/storage/test_ledger.py",
    "gateway/storage/test_ledger_reports.py",
    "gateway/storage/test_outbox.py",
    "gateway/storage/test_rollups.py",
    "gateway/storage/test_shared_store.py",
    "gateway/storage/test_shared_store_holds.py",
    "gateway/storage/test_shared_store_model.py",
    "gateway/storage/test_shared_store_reinstates.py",
    "gateway/storage/test_shared_store_spent.py",
    "gateway/storage/test_shared_store_surplus.py",
    "gateway/storage/test_shared_store_windows.py",
    "gateway/storage/test_stolen_keys.py",
    "gateway/tls",
    "house",
    "local_runtime/app/test_store.py",
    "local_runtime/client/test_socket_folder.py",
    "local_runtime/http/test_client_limits.py",
    "local_runtime/packaging",
    "local_runtime/pytorch/test_apart.py",
    "local_runtime/pytorch/test_served.py",
    "local_runtime/server/test_documents.py",
    "local_runtime/server/test_fast_path.py",
    "local_runtime/server/test_job_webhooks.py",
    "local_runtime/server/test_large_bodies.py",
    "local_runtime/server/test_life.py",
    "local_runtime/server/test_models.py",
    "local_runtime/server/test_server.py",
    "local_runtime/server/test_sockets.py",
    "local_runtime/server/test_start.py",
    "local_runtime/server/test_steppers.py",
    "local_runtime/test_hosted.py",
    "local_runtime/test_potassium.py",
    "local_runtime/test_potassium_background.py",
    "local_runtime/test_potassium_names.py",
    "local_runtime/test_potassium_thread.py",
    "local_runtime/worker/test_footprint.py",
    "local_runtime/worker/test_odd_ends.py",
    "local_runtime/worker/test_orphans.py",
    "scripts",
    "simulation/test_replay.py",
    "test_docs.py",
    "test_live.py",
    "test_processes.py",
    "test_rings.py",
    "test_snippets.py",
)

_OUTER = tuple(TESTS / name for name in OUTER)


class Watch:
    """What was started by this process since it was last asked."""

    def __init__(self) -> None:
        self._seen: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if event not in STARTS_A_PROCESS:
            return
        what = f"{event} {arguments[0] if arguments else ''}".strip()
        if what != HARMLESS:
            self._seen.append(what)

    def take(self) -> list[str]:
        seen, self._seen = self._seen, []
        return seen


def is_outer(path: Path, outer: Iterable[Path] = _OUTER) -> bool:
    """Whether a file, or a folder with all that is in it, is no part of the quick ring."""
    return any(path.is_relative_to(one) for one in outer)


def assert_it_was_quick(path: Path, started: list[str]) -> None:
    """Raises AssertionError for a test of the quick ring that has started a process."""
    if path.is_relative_to(TESTS) and not is_outer(path):
        assert not started, f"it starts a process: list its file in tests/rings.py; {started}"
