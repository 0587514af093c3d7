"""mosec, with its dynamic batching where BENCH_BATCH is above 1; JSON is its own default encoding."""

import os

import numpy
from mosec import Server, Worker

from model import Model

BATCH = int(os.environ["BENCH_BATCH"])


class Inference(Worker):
    def __init__(self):
        super().__init__()
        self.model = Model()

    def forward(self, data):
        if BATCH == 1:
            return self.model.answer(self.model.run(self.model.rows(data)))
        batches = [self.model.rows(body) for body in data]
        ends = numpy.cumsum([len(batch) for batch in batches])[:-1]
        stacked = self.model.run(numpy.concatenate(batches))
        parts = zip(*(numpy.split(output, ends) for output in stacked))
        return [self.model.answer(outputs) for outputs in parts]


if __name__ == "__main__":
    server = Server()
    # The default wait of 10 ms would cap a single client at a hundred requests a second; 1 ms is the least.
    server.append_worker(Inference, max_batch_size=BATCH, max_wait_time=1 if BATCH > 1 else 0, timeout=60)
    server.run()
