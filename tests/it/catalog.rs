//! Catalogs are swapped under load: every request is answered by the version that it resolved, and the old one is freed.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use onnxd::{
    config::memory::MemorySettings,
    model::{
        manifest::Manifest,
        name::{ModelName, ModelVersion},
    },
    serving::{
        catalog::{ModelRef, ModelState},
        loader::Loader,
        served_model::ServedModel,
    },
};
use serde_json::Value;
use tokio::task::{JoinSet, spawn_blocking};

use crate::harness::{TestServer, models, runtime, until, within_patience};

const SWAPS: u64 = 40;
const BODY: &str = r#"{"features":[6.3,3.3,6.0,2.5]}"#;

/// Loads iris once more, as a version that no folder has.
fn load(version: ModelVersion) -> Arc<ServedModel> {
    let loader = Loader::new(runtime(), &MemorySettings::default()).unwrap();
    let path = models("iris/1/model.onnx");
    Arc::new(loader.load(&name(), version, &path, &Manifest::default()).unwrap())
}

fn name() -> ModelName {
    "iris".parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swapped_catalog_loses_no_request_and_frees_what_it_replaces() {
    let server = Arc::new(TestServer::serving("iris").await);
    let first = Arc::downgrade(&server.service.resolve(ModelRef::DEFAULT).unwrap());
    let done = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        let (server, done) = (Arc::clone(&server), Arc::clone(&done));
        clients.spawn(async move {
            let mut answers = 0;
            while !done.load(Ordering::Acquire) {
                let answer: Value = server.predict("/predict", BODY).await;
                assert_eq!((&answer["prediction"], &answer["model_version"]), (&2.into(), &"1".into()), "{answer}");
                answers += 1;
            }
            answers
        });
    }
    let one = ModelVersion::new(1).unwrap();
    for _ in 0..SWAPS {
        let next = spawn_blocking(move || load(one)).await.unwrap();
        server.service.update(|catalog| catalog.with_version(&name(), one, ModelState::Ready(next)));
    }
    done.store(true, Ordering::Release);
    let answers: Vec<u64> = within_patience(clients.join_all()).await;
    assert!(answers.iter().all(|answers| *answers > 0), "{answers:?}");
    assert_eq!(server.service.catalog().generation(), SWAPS + 1);
    until(async || first.upgrade().is_none()).await;
}

#[tokio::test]
async fn added_version_is_served_and_described_at_once() {
    let server = TestServer::serving("iris").await;
    let before = server.get_json("/openapi.json").await;
    let two = ModelVersion::new(2).unwrap();
    let next = spawn_blocking(move || load(two)).await.unwrap();
    server.service.update(|catalog| catalog.with_version(&name(), two, ModelState::Ready(next)));

    let path = "/models/iris/versions/2/predict";
    assert_eq!(server.predict(path, BODY).await["model_version"], "2");
    // The default version is the one that it was.
    assert_eq!(server.predict("/predict", BODY).await["model_version"], "1");
    let after = server.get_json("/openapi.json").await;
    let describes = |document: &Value| document["paths"].as_object().unwrap().contains_key(path);
    assert!(!describes(&before) && describes(&after), "{:?}", after["paths"].as_object().unwrap().keys());
}
