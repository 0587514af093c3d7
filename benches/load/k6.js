// Predictions over HTTP and gRPC, at a rate that does not wait for the answers, for k6, with thresholds that make it a test.
//
//   k6 run benches/load/k6.js
//   k6 run -e HTTP=http://localhost:8000 -e GRPC=localhost:8001 -e RATE=500 -e DURATION=30s benches/load/k6.js
import { check } from "k6";
import http from "k6/http";
import grpc from "k6/net/grpc";

const HTTP = __ENV.HTTP || "http://localhost:8000";
const GRPC = __ENV.GRPC || "localhost:8001";
const RATE = Number(__ENV.RATE || 200);
const DURATION = __ENV.DURATION || "20s";
const MAX_P99_MS = __ENV.MAX_P99_MS || 100;

const FLOWERS = {
  setosa: [5.1, 3.5, 1.4, 0.2],
  versicolor: [5.7, 2.8, 4.1, 1.3],
  virginica: [6.3, 3.3, 6.0, 2.5],
};
const NAMES = Object.keys(FLOWERS);

function arrivals(exec) {
  return {
    executor: "constant-arrival-rate",
    exec,
    rate: RATE,
    timeUnit: "1s",
    duration: DURATION,
    preAllocatedVUs: 50,
    maxVUs: 200,
  };
}

export const options = {
  scenarios: { http: arrivals("overHttp"), grpc: arrivals("overGrpc") },
  thresholds: {
    checks: ["rate==1"],
    http_req_failed: ["rate==0"],
    http_req_duration: [`p(99)<${MAX_P99_MS}`],
    grpc_req_duration: [`p(99)<${MAX_P99_MS}`],
    // None was left out because too many were still waiting for their answer.
    dropped_iterations: ["count==0"],
  },
};

function anyFlower() {
  return NAMES[Math.floor(Math.random() * NAMES.length)];
}

export function overHttp() {
  const name = anyFlower();
  const response = http.post(`${HTTP}/models/iris/predict`, JSON.stringify({ features: FLOWERS[name] }));
  check(response, {
    "is answered 200": (r) => r.status === 200,
    "is the right flower": (r) => r.json("predicted_class_name") === name,
  });
}

const client = new grpc.Client();
client.load(["../../proto"], "prediction.proto");
// Each virtual user keeps its connection, as a client would.
let isConnected = false;

export function overGrpc() {
  if (!isConnected) {
    client.connect(GRPC, { plaintext: true });
    isConnected = true;
  }
  const name = anyFlower();
  const response = client.invoke("onnxd.v1.PredictionService/Predict", { model: "iris", features: FLOWERS[name] });
  check(response, {
    "is answered OK": (r) => r.status === grpc.StatusOK,
    "is the right flower over gRPC": (r) => r.message.predictions[0].className === name,
  });
}
