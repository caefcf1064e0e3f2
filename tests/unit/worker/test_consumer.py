"""The messages that a worker holds, at a real Redis."""

import time
from types import SimpleNamespace

import pytest
import redis
from kombu import Connection, Consumer, Queue

from worker import consumer
from worker.consumer import MAX_HELD_S, JobPrefetch, TaskPool
from worker.shutdown import stopping


class HeldMessages:
    """A channel that has received some messages and acknowledged none, in the place of Celery's consumer."""

    def __init__(self, url, count):
        self.connection, self.messages = Connection(url), []
        queue = Queue("bulk")(self.connection.default_channel)
        self.task_consumer = Consumer(self.connection.channel(), queue, callbacks=[self._receive], prefetch_count=9)
        self.redis = redis.Redis(unix_socket_path=url.removeprefix("redis+socket://"))
        with self.connection.Producer() as producer:
            for number in range(count):
                producer.publish(number, routing_key="bulk", declare=[queue])
        self.task_consumer.consume()
        while len(self.messages) < count:
            self.connection.drain_events(timeout=10)

    def _receive(self, body, message):
        self.messages.append(message)

    def delivered_at(self):
        """When Redis takes each message to have been delivered, oldest first: in seconds since 1970."""
        return {tag.decode(): at for tag, at in self.redis.zrange("unacked_index", 0, -1, withscores=True)}

    def make_old(self, age_s):
        """Let every message look as if it had been delivered so long ago."""
        for tag in self.delivered_at():
            self.redis.zadd("unacked_index", {tag: time.time() - age_s})


@pytest.fixture
def held(redis_url):
    held = HeldMessages(redis_url, 2)
    yield held
    held.connection.close()
    held.redis.close()


@pytest.fixture
def step():
    return JobPrefetch(SimpleNamespace())


def ages_s(held):
    return [round(time.time() - at) for at in held.delivered_at().values()]


def test_messages_that_are_held_look_as_if_they_had_just_been_delivered(held, step):
    held.make_old(80)
    assert ages_s(held) == pytest.approx([80, 80], abs=1)
    step.renew_visibility(held)
    assert ages_s(held) == pytest.approx([0, 0], abs=1)


def test_a_message_that_is_finished_is_not_held_again(held, step):
    held.messages[0].ack()
    step.renew_visibility(held)
    assert list(held.delivered_at()) == [held.messages[1].delivery_tag]
    held.messages[1].ack()
    step.renew_visibility(held)
    assert held.delivered_at() == {}


def test_a_message_that_another_process_took_from_redis_is_not_put_back(held, step):
    held.redis.delete("unacked_index")
    step.renew_visibility(held)
    assert held.delivered_at() == {}


def test_a_message_whose_job_hangs_is_given_up(held, step):
    step.renew_visibility(held)
    first, second = (message.delivery_tag for message in held.messages)
    step._held_since[first] -= MAX_HELD_S - 10
    step._held_since[second] -= MAX_HELD_S + 1
    held.make_old(80)
    step.renew_visibility(held)
    assert held.delivered_at()[first] == pytest.approx(time.time(), abs=1)
    assert held.delivered_at()[second] == pytest.approx(time.time() - 80, abs=1)


def test_the_prefetch_count_follows_the_number_of_jobs_that_are_wanted(step):
    celery_consumer = SimpleNamespace(qos=SimpleNamespace(value=16), initial_prefetch_count=16)
    step.adjust_prefetch(celery_consumer)
    assert (celery_consumer.qos.value, celery_consumer.initial_prefetch_count) == (2, 2)


def test_the_step_works_from_the_start_of_the_consumer_to_its_end():
    calls, cancelled = [], []

    def call_repeatedly(interval_s, function, arguments):
        calls.append((interval_s, function.__name__))
        return SimpleNamespace(cancel=lambda: cancelled.append(function.__name__))

    celery_consumer = SimpleNamespace(
        timer=SimpleNamespace(call_repeatedly=call_repeatedly),
        qos=SimpleNamespace(value=16),
        initial_prefetch_count=16,
    )
    step = JobPrefetch(celery_consumer)
    step.start(celery_consumer)
    assert calls == [(30.0, "renew_visibility"), (1.0, "adjust_prefetch")]
    assert celery_consumer.qos.value == 2
    step.stop(celery_consumer)
    assert cancelled == ["renew_visibility", "adjust_prefetch"]


@pytest.mark.parametrize("stop", ["on_stop", "on_terminate", "terminate_job"])
def test_a_pool_that_ends_asks_its_jobs_to_end(stop):
    pool = TaskPool(limit=1)
    try:
        getattr(pool, stop)(*([0] if stop == "terminate_job" else []))
        assert stopping.is_set()
    finally:
        stopping.clear()
        pool.executor.shutdown()


def test_a_worker_is_made_ready_with_its_name_when_celery_starts_it():
    from celery.signals import celeryd_init

    receivers = [reference for _, reference in celeryd_init.receivers]
    assert consumer._prepare_worker in receivers
