// Sends one refused request with Node's client named by the first argument; prints what came as JSON.
import http from 'node:http';
import http2 from 'node:http2';

const [client, url, method, size, extra] = process.argv.slice(2);
const body = Buffer.alloc(Number(size), 32);
const headers = JSON.parse(extra);
const show = (status, retryAfter, text) =>
  process.stdout.write(JSON.stringify({ status: Number(status), retry_after: retryAfter ?? null, body: text }));
const fail = (error) => {
  console.error(error);
  process.exit(1);
};

const overHttp1 = () => {
  const request = http.request(url, { method, headers: { ...headers, 'content-length': body.length } }, (response) => {
    const pieces = [];
    response.on('data', (piece) => pieces.push(piece)).on('error', fail);
    response.on('end', () => show(response.statusCode, response.headers['retry-after'], Buffer.concat(pieces).toString()));
  });
  request.on('error', fail).end(body);
};

const overHttp2 = () => {
  // Node buffers the body, and resets streams over 10 MB of memory by default.
  const session = http2.connect(url, { maxSessionMemory: 100 }).on('error', fail);
  const request = session.request({ ':method': method, ':path': new URL(url).pathname, ...headers });
  const pieces = [];
  let head = {};
  request.on('response', (received) => (head = received)).on('data', (piece) => pieces.push(piece)).on('error', fail);
  request.on('end', () => {
    show(head[':status'], head['retry-after'], Buffer.concat(pieces).toString());
    session.close();
  });
  request.end(body);
};

const overFetch = async () => {
  const response = await fetch(url, { method, headers, body });
  show(response.status, response.headers.get('retry-after'), await response.text());
};

({ http: overHttp1, http2: overHttp2, fetch: () => overFetch().catch(fail) })[client]();
