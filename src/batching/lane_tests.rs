//! Tests of the lanes without a server: what is hard to bring about through a socket.

use std::{
    pin::{Pin, pin},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::sync_channel,
    },
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;
use futures_util::future::{join_all, poll_fn};
use tokio::{task::JoinSet, time::timeout};

use crate::{
    batching::{
        lane::LaneKind,
        testing::{Setting, TestLane, poll_once, request, values},
    },
    error::{Error, ErrorKind},
};

const KINDS: [LaneKind; 2] = [LaneKind::Inline, LaneKind::Worker];
/// No test waits longer than this for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// Something that runs wait for, until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn pass(&self) {
        let open = self.0.0.lock().unwrap();
        drop(self.0.1.wait_timeout_while(open, PATIENCE, |open| !*open).unwrap());
    }

    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

fn until(is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "it does not happen");
        thread::yield_now();
    }
}

/// Starts a worker whose first run, of the value 0, is on until the gate is opened.
fn busy_worker(setting: Setting) -> (TestLane, Gate) {
    let gate = Gate::default();
    let lane = {
        let gate = gate.clone();
        setting.start_with(move |values| {
            if values == [0.0] {
                gate.pass();
            }
            Ok(())
        })
    };
    (lane, gate)
}

#[test]
fn inline_requests_that_come_together_run_together() {
    let lane = Setting::of(LaneKind::Inline).start();
    let (mut first, mut second) = (pin!(lane.run(&[1.0])), pin!(lane.run(&[2.0, 3.0])));
    assert!(poll_once(first.as_mut()).is_pending() && poll_once(second.as_mut()).is_pending());
    let Poll::Ready(Ok(answer)) = poll_once(first) else { panic!("the first runs the batch") };
    assert_eq!(values(&answer), [1.0]);
    let Poll::Ready(Ok(answer)) = poll_once(second) else { panic!("the first answers the second") };
    assert_eq!(values(&answer), [2.0, 3.0]);
    assert_eq!(lane.runs(), [3]);
}

#[test]
fn inline_request_that_runs_for_others_is_answered_while_they_keep_coming() {
    let lane = Setting { max_batch_rows: 1, ..Setting::of(LaneKind::Inline) }.start();
    let mut first = pin!(lane.run(&[1.0]));
    assert!(poll_once(first.as_mut()).is_pending());
    let ask = || Box::pin(lane.run(&[2.0]));
    let mut others = [ask(), ask()];
    for _ in 0..10 {
        for other in &mut others {
            if poll_once(other.as_mut()).is_ready() {
                *other = ask();
                assert!(poll_once(other.as_mut()).is_pending());
            }
        }
        if poll_once(first.as_mut()).is_ready() {
            return;
        }
    }
    panic!("it waits for as long as others come");
}

#[test]
fn inline_client_that_leaves_in_its_turn_leaves_it_to_the_next() {
    let lane = Setting::of(LaneKind::Inline).start();
    let mut leaver = Box::pin(lane.run(&[1.0]));
    let (mut second, mut third) = (Box::pin(lane.run(&[2.0])), pin!(lane.run(&[3.0])));
    for future in [&mut leaver, &mut second] {
        assert!(poll_once(future.as_mut()).is_pending());
    }
    assert!(poll_once(third.as_mut()).is_pending());
    drop(leaver);
    assert_eq!(lane.runs(), [0; 0], "dropping a future holds nobody up");
    // The next is given the turn and leaves before it learns of that.
    drop(second);
    let answered = (0..5).find_map(|_| match poll_once(third.as_mut()) {
        Poll::Ready(answer) => Some(answer.unwrap()),
        Poll::Pending => None,
    });
    assert_eq!(values(&answered.unwrap()), [3.0]);
    assert_eq!((lane.runs(), lane.metrics.cancelled.get(), lane.metrics.queue_depth.get()), (vec![1], 2, 0));
}

#[tokio::test]
async fn request_of_another_shape_is_not_mixed_in() {
    let lane = Setting::of(LaneKind::Inline).start();
    // The second has as many values as the first, in two rows.
    let requests = [(1, [1.0, 2.0]), (2, [3.0, 4.0]), (1, [5.0, 6.0]), (1, [7.0, 8.0])];
    let answers = join_all(requests.map(|(rows, values)| lane.lane.run(request(rows, &values), None))).await;
    for ((rows, sent), answer) in requests.iter().zip(answers) {
        let answer = answer.unwrap();
        assert_eq!((answer.outputs[0].shape()[0], values(&answer)), (*rows, &sent[..]));
    }
    assert_eq!(lane.runs(), [1, 2, 2]);
}

#[tokio::test]
async fn large_request_is_split_and_put_together_however_short_the_queue() {
    for kind in KINDS {
        for (max_queue_size, instances) in [(1, 1), (1, 2), (2, 1), (2, 4), (1024, 3)] {
            let lane = Setting { max_queue_size, instances, ..Setting::of(kind) }.start();
            let rows: Vec<f32> = (0..83_u8).map(f32::from).collect();
            let answer = timeout(PATIENCE, lane.run(&rows)).await.unwrap();
            let answer = answer.unwrap_or_else(|error| panic!("{kind:?}, {max_queue_size}, {instances}: {error}"));
            assert_eq!(values(&answer), rows);
            assert!(lane.runs().iter().all(|rows| *rows <= 8));
            assert_eq!(lane.runs().iter().sum::<usize>(), 83);
        }
    }
}

#[test]
fn large_request_that_has_begun_is_not_refused_for_those_that_came_later() {
    let setting = Setting { max_batch_rows: 1, max_queue_size: 1, ..Setting::of(LaneKind::Inline) };
    let lane = setting.start();
    let mut large = pin!(lane.run(&[1.0, 2.0, 3.0]));
    assert!(poll_once(large.as_mut()).is_pending());
    let mut small = Vec::new();
    for _ in 0..10 {
        // Between two parts of the large request one that is small takes the only place.
        small.push(Box::pin(lane.run(&[9.0])));
        small.retain_mut(|small| poll_once(small.as_mut()).is_pending());
        if let Poll::Ready(answer) = poll_once(large.as_mut()) {
            assert_eq!(values(&answer.unwrap()), [1.0, 2.0, 3.0]);
            return;
        }
    }
    panic!("the large request is not answered");
}

#[test]
fn dead_entries_make_room_and_are_counted() {
    let (lane, gate) = busy_worker(Setting { max_queue_size: 2, ..Setting::of(LaneKind::Worker) });
    let mut running = pin!(lane.run(&[0.0]));
    assert!(poll_once(running.as_mut()).is_pending());
    until(|| lane.runs() == [1]);
    let (mut leaver, mut late) = (Box::pin(lane.run(&[1.0])), pin!(lane.run_until(&[2.0], Instant::now())));
    assert!(poll_once(leaver.as_mut()).is_pending() && poll_once(late.as_mut()).is_pending());
    drop(leaver);
    let (mut third, mut fourth, mut fifth) = (pin!(lane.run(&[3.0])), pin!(lane.run(&[4.0])), pin!(lane.run(&[5.0])));
    assert!(poll_once(third.as_mut()).is_pending() && poll_once(fourth.as_mut()).is_pending());
    let Poll::Ready(Err(error)) = poll_once(late) else { panic!("it is answered when it makes room") };
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    let Poll::Ready(Err(error)) = poll_once(fifth.as_mut()) else { panic!("the queue is full of the living") };
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    assert_eq!((lane.metrics.cancelled.get(), lane.metrics.queue_depth.get()), (2, 2));
    gate.open();
    until(|| lane.runs().len() == 2);
    assert_eq!(lane.runs(), [1, 2]);
}

#[test]
fn inline_dead_entries_make_room_and_are_counted() {
    let lane = Setting { max_queue_size: 3, ..Setting::of(LaneKind::Inline) }.start();
    let mut first = pin!(lane.run(&[1.0]));
    assert!(poll_once(first.as_mut()).is_pending());
    for _ in 0..2 {
        assert!(poll_once(pin!(lane.run(&[2.0]))).is_pending());
    }
    let mut last = pin!(lane.run(&[3.0]));
    assert!(poll_once(last.as_mut()).is_pending());
    assert_eq!((lane.metrics.cancelled.get(), lane.metrics.queue_depth.get()), (2, 2));
    assert!(poll_once(first).is_ready() && poll_once(last).is_ready());
    assert_eq!((lane.runs(), lane.metrics.queue_depth.get()), (vec![2], 0));
}

#[test]
fn lane_that_is_dropped_does_not_wait_for_company() {
    let (done, is_done) = sync_channel(1);
    let lane = Setting { max_queue_delay: PATIENCE * 100, ..Setting::of(LaneKind::Worker) }.start();
    assert!(poll_once(pin!(lane.run(&[1.0]))).is_pending());
    let dropping = thread::Builder::new().spawn(move || {
        drop(lane);
        done.send(()).unwrap();
    });
    is_done.recv_timeout(PATIENCE).expect("dropping the lane ends");
    dropping.unwrap().join().unwrap();
}

#[tokio::test]
async fn only_the_culprit_of_a_batch_gets_the_error_and_each_waited_once() {
    let lane = Setting::of(LaneKind::Inline)
        .start_with(|values| if values.contains(&-1.0) { Err(Error::internal("a culprit")) } else { Ok(()) });
    let answers = join_all([1.0, -1.0, 3.0].map(|value| lane.run(&[value]))).await;
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(values(answers[2].as_ref().unwrap()), [3.0]);
    assert_eq!(lane.runs(), [3, 1, 1, 1]);
    assert_eq!(lane.metrics.queue.get_sample_count(), 3);
}

#[tokio::test]
async fn requests_of_a_run_that_crashed_are_not_run_again() {
    let crash = || Err(Error::new(ErrorKind::Crashed, "the process ended"));
    let lane =
        Setting::of(LaneKind::Inline).start_with(move |values| if values.contains(&-1.0) { crash() } else { Ok(()) });
    let answers = join_all([1.0, -1.0, 3.0].map(|value| lane.run(&[value]))).await;
    let messages: Vec<_> = answers.iter().map(|answer| answer.as_ref().unwrap_err().message()).collect();
    assert_eq!((messages, lane.runs()), (vec!["the process ended"; 3], vec![3]));
    assert!(lane.run(&[4.0]).await.is_ok());
}

#[test]
fn panic_fails_all_of_its_batch_and_the_model_runs_no_more() {
    let setting = Setting { max_batch_rows: 3, ..Setting::of(LaneKind::Inline) };
    let lane = setting.start_with(|values| if values.contains(&-1.0) { panic!("as the test wants") } else { Ok(()) });
    let mut requests: Vec<_> = [1.0, -1.0, 3.0, 4.0].map(|value| Box::pin(lane.run(&[value]))).into();
    for request in &mut requests {
        assert!(poll_once(request.as_mut()).is_pending());
    }
    let mut kinds = vec![None; requests.len()];
    for _ in 0..5 {
        for (request, kind) in requests.iter_mut().zip(&mut kinds).filter(|(_, kind)| kind.is_none()) {
            if let Poll::Ready(answer) = poll_once(request.as_mut()) {
                *kind = Some(answer.unwrap_err().kind());
            }
        }
    }
    let internal = Some(ErrorKind::Internal);
    assert_eq!(kinds, [internal, internal, internal, Some(ErrorKind::Unavailable)]);
    assert_eq!(lane.runs(), [3], "a session that panicked is not run again");
    assert!(lane.lane.failure().is_some());
}

/// Polls so often at most, then gives up.
async fn at_most<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Asks again and again, of many shapes, and leaves at random; each answer must be its own.
async fn client(lane: Arc<TestLane>, number: usize, requests: usize, answered: Arc<AtomicUsize>) {
    let mut rng = Rng::with_seed(number as u64);
    for index in 0..requests {
        let (rows, columns) = (rng.usize(1..=4), rng.usize(1..=2));
        // Beyond a batch now and then.
        let rows = if rng.u8(..) == 0 { rows * 10 } else { rows };
        // Client, request and place, exact as FP32.
        let first = (number * 4096 + index) * 128;
        let sent: Vec<f32> = (first..first + rows * columns).map(|value| value as f32).collect();
        let polls = if rng.u8(..4) == 0 { rng.usize(0..4) } else { usize::MAX };
        let running = lane.lane.run(request(rows, &sent), None);
        if let Some(answer) = timeout(PATIENCE, at_most(polls, running)).await.expect("it does not hang") {
            let answer = answer.unwrap();
            assert_eq!((answer.outputs[0].shape()[0], values(&answer)), (rows, &sent[..]));
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_request_gets_its_own_answer_while_others_leave() {
    let (clients, requests) = (32, if cfg!(debug_assertions) { 400 } else { 4000 });
    for kind in KINDS {
        for instances in [1, 3] {
            let lane = Arc::new(Setting { instances, ..Setting::of(kind) }.start());
            let answered = Arc::new(AtomicUsize::new(0));
            let mut all = JoinSet::new();
            for number in 0..clients {
                all.spawn(client(Arc::clone(&lane), number, requests, Arc::clone(&answered)));
            }
            all.join_all().await;
            assert!(answered.load(Ordering::Relaxed) > clients * requests * 7 / 10);
            // What is left in the queue belongs to nobody; the next request finds a session all the same.
            timeout(PATIENCE, lane.run(&[1.0])).await.expect("no turn was lost").unwrap();
            until(|| lane.metrics.queue_depth.get() == 0);
        }
    }
}

#[expect(dead_code, reason = "says that a lane's future can be sent between threads")]
fn is_send(lane: &TestLane) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
    Box::pin(async { drop(lane.run(&[1.0]).await) })
}
