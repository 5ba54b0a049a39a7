"""What a gateway that died has written is dropped, and never what another one writes."""

from __future__ import annotations

from pathlib import Path

from gateway.clock import FakeClock
from gateway.files.files import NewFile
from tests.gateway.batches.gateways import ENDED, input_of, with_batches


async def test_a_gateway_that_lost_its_lease_drops_no_results_of_the_one_that_has_it(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_batches(tmp_path, clock) as gateway, gateway.client() as client:
        asked = await gateway.batch(client, input_of([{"x": 1}]))
        ended = await gateway.until_status(client, asked["id"], *ENDED)
        batches, files = gateway.inner.batches, gateway.inner.stored_files
        assert batches is not None
        assert files is not None
        batch = await batches.store.get(asked["id"])
        assert batch is not None
        left = NewFile(
            user=batch.user,
            key_id=batch.key_id,
            name=f"{batch.id}_error.jsonl",
            purpose="batch_output",
        )
        finalized_at = batch.finalizing_at
        assert finalized_at is not None
        async with files.incoming(left, of_ours=True) as of_a_dead_one:
            await of_a_dead_one.write(b"x")

        await batches.results_of.drop(batch, finalized_at)
        assert len(await gateway.lines(client, ended["output_file_id"])) == 1
        await clock.advance(1.0)
        await batches.results_of.drop(batch, clock.time())
        assert await files.records.get(of_a_dead_one.file.id) is None
