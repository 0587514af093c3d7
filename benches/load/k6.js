// Predictions at a rate that does not wait for the answers, for k6, with thresholds that make it a test.
//
//   k6 run benches/load/k6.js
//   k6 run -e HTTP=http://localhost:8000 -e RATE=500 -e DURATION=30s benches/load/k6.js
import { check } from "k6";
import http from "k6/http";

const HTTP = __ENV.HTTP || "http://localhost:8000";
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
  scenarios: { predict: arrivals("predict") },
  thresholds: {
    checks: ["rate==1"],
    http_req_failed: ["rate==0"],
    http_req_duration: [`p(99)<${MAX_P99_MS}`],
    // None was left out because too many were still waiting for their answer.
    dropped_iterations: ["count==0"],
  },
};

export function predict() {
  const name = NAMES[Math.floor(Math.random() * NAMES.length)];
  const response = http.post(`${HTTP}/models/iris/predict`, JSON.stringify({ features: FLOWERS[name] }));
  check(response, {
    "is answered 200": (r) => r.status === 200,
    "is the right flower": (r) => r.json("predicted_class_name") === name,
  });
}
