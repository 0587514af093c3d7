//! A queue under load, against a simulated clock: how much is answered in time, and who is refused.

use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::sync::oneshot;

use crate::{
    batching::{
        policy::{Decision, Limits},
        queue::{CALM_QUEUE, Entry, QueueLimits, Reply, RequestQueue},
        testing::request,
    },
    error::ErrorKind,
};

/// An answer that comes later than this is of no use to its client.
const IN_TIME: Duration = Duration::from_secs(1);

/// One session behind a queue with the default limits.
struct Simulation {
    queue: RequestQueue,
    limits: Limits,
    /// The time of a run of so many rows.
    run_time: fn(usize) -> Duration,
    now: Instant,
    running: Option<(Instant, Vec<Entry>)>,
    /// Held, so that no client seems to have left.
    clients: Vec<oneshot::Receiver<Reply>>,
    refused: usize,
    in_time: usize,
    answered: usize,
}

impl Simulation {
    fn new(max_batch_rows: usize, run_time: fn(usize) -> Duration) -> Self {
        let queue = QueueLimits { max_queue_size: 1024, max_queue_wait: Duration::from_millis(500) };
        Self {
            queue: RequestQueue::new(queue, 1),
            limits: Limits { max_batch_rows, max_queue_delay: Duration::ZERO },
            run_time,
            now: Instant::now(),
            running: None,
            clients: Vec::new(),
            refused: 0,
            in_time: 0,
            answered: 0,
        }
    }

    fn arrive(&mut self) {
        let (reply, client) = oneshot::channel();
        let request = request(1, &[1.0]);
        let key = request.batch_key();
        let entry = Entry { request, key, reply, queued_at: self.now, deadline: None, ticket: None, begun: false };
        match self.queue.push(entry) {
            Ok(_) => self.clients.push(client),
            Err(_) => self.refused += 1,
        }
        self.start();
    }

    fn start(&mut self) {
        if self.running.is_none()
            && let Decision::Take(count) = self.queue.decide(self.now, self.limits)
        {
            let batch = self.queue.take(count);
            self.running = Some((self.now + (self.run_time)(batch.len()), batch));
        }
    }

    /// Lets the clock reach `until`; each answer is followed by another request if `closed_loop`.
    fn advance(&mut self, until: Instant, closed_loop: bool) {
        while let Some((ends, batch)) = self.running.take_if(|(ends, _)| *ends <= until) {
            self.now = ends;
            self.queue.note_run(batch.len(), (self.run_time)(batch.len()));
            let requests = batch.len();
            self.answered += requests;
            self.in_time += batch.iter().filter(|entry| ends - entry.queued_at <= IN_TIME).count();
            self.start();
            (0..if closed_loop { requests } else { 0 }).for_each(|_| self.arrive());
        }
        self.now = until;
    }

    /// Sends requests at `rate` a second, at random moments, for as long as `time`.
    fn open_loop(&mut self, rate: f64, time: Duration) {
        let (mut rng, end) = (Rng::with_seed(7), self.now + time);
        loop {
            let pause = Duration::from_secs_f64(-(1.0 - rng.f64()).ln() / rate);
            if self.now + pause > end {
                return self.advance(end, false);
            }
            self.advance(self.now + pause, false);
            self.arrive();
        }
    }
}

/// The capacity of a model in rows a second, the most rows of a run, and the time of a run.
type Model = (f64, usize, fn(usize) -> Duration);

/// Two models that gain nothing from batches, and two that do.
const MODELS: [Model; 4] = [
    (20.0, 1, |_| Duration::from_millis(50)),
    (120.0, 1, |_| Duration::from_micros(8_333)),
    (120.0, 16, |rows| Duration::from_millis(20) + Duration::from_micros(7_083).mul_f64(rows as f64)),
    (1000.0, 64, |rows| Duration::from_millis(6) + Duration::from_micros(906).mul_f64(rows as f64)),
];

const SECONDS: f64 = 20.0;

#[test]
fn four_times_the_capacity_leaves_nine_tenths_of_it_to_answers_in_time() {
    for (capacity, max_batch_rows, run_time) in MODELS {
        let mut simulation = Simulation::new(max_batch_rows, run_time);
        simulation.open_loop(capacity * 4.0, Duration::from_secs_f64(SECONDS));
        let share = simulation.in_time as f64 / (capacity * SECONDS);
        assert!(share >= 0.9, "{capacity}/s, {max_batch_rows} rows a run: {share} of the capacity");
    }
}

#[test]
fn slight_overload_that_goes_on_leaves_nine_tenths_of_the_capacity_to_answers_in_time() {
    for (capacity, max_batch_rows, run_time) in MODELS {
        let mut simulation = Simulation::new(max_batch_rows, run_time);
        // Until the queue is as long as that of an overload.
        simulation.open_loop(capacity * 1.3, Duration::from_secs_f64(CALM_QUEUE as f64 / (capacity * 0.3) * 1.5));
        simulation.in_time = 0;
        simulation.open_loop(capacity * 1.3, Duration::from_secs_f64(SECONDS));
        let share = simulation.in_time as f64 / (capacity * SECONDS);
        assert!(share >= 0.9, "{capacity}/s, {max_batch_rows} rows a run: {share} of the capacity");
    }
}

#[test]
fn clients_that_wait_for_each_answer_are_not_refused() {
    for (capacity, max_batch_rows, run_time) in MODELS {
        for clients in [1, 8, 64, CALM_QUEUE] {
            let mut simulation = Simulation::new(max_batch_rows, run_time);
            (0..clients).for_each(|_| simulation.arrive());
            simulation.advance(simulation.now + Duration::from_secs_f64(SECONDS), true);
            let shares = simulation.answered as f64 / (capacity * SECONDS);
            assert_eq!(simulation.refused, 0, "{capacity}/s, {clients} clients");
            assert!(clients < 64 || shares > 0.9, "{capacity}/s, {clients} clients: {shares} of the capacity");
        }
    }
}

#[test]
fn clients_are_not_refused_once_an_overload_is_over() {
    for (capacity, max_batch_rows, run_time) in MODELS {
        let mut simulation = Simulation::new(max_batch_rows, run_time);
        simulation.open_loop(capacity * 4.0, Duration::from_secs(10));
        assert!(simulation.refused > 0);
        simulation.advance(simulation.now + Duration::from_secs(6), false);
        simulation.refused = 0;
        (0..64).for_each(|_| simulation.arrive());
        simulation.advance(simulation.now + Duration::from_secs(10), true);
        assert_eq!(simulation.refused, 0, "{capacity}/s");
    }
}

#[test]
fn the_oldest_are_refused_when_an_overload_begins() {
    let mut simulation = Simulation::new(1, |_| Duration::from_millis(50));
    simulation.arrive();
    simulation.advance(simulation.now + Duration::from_millis(50), false);
    // One runs, and the others wait.
    (0..=CALM_QUEUE).for_each(|_| simulation.arrive());
    assert_eq!((simulation.refused, simulation.queue.len()), (0, CALM_QUEUE));
    simulation.arrive();
    assert_eq!((simulation.refused, simulation.queue.len()), (0, 11), "so many run in half a second, and the next");
    let refused = |client: &mut oneshot::Receiver<Reply>| match client.try_recv() {
        Ok(Reply::Answer(Err(error))) => Some(error.kind()),
        _ => None,
    };
    // The first has run and the second is running.
    let kinds: Vec<_> = simulation.clients[2..].iter_mut().map(refused).collect();
    assert_eq!(kinds.iter().position(Option::is_none), Some(CALM_QUEUE - 10));
    assert!(kinds[..CALM_QUEUE - 10].iter().all(|kind| *kind == Some(ErrorKind::Overloaded)));
}
