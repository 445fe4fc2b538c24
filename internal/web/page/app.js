'use strict';
// Everything that is shown goes in as text: it came from the wire.
const at = (id) => document.getElementById(id);

async function ask(path, params = {}) {
  const query = new URLSearchParams(Object.entries(params).filter(([, v]) => v !== ''));
  const answer = await fetch(`api/${path}?${query}`);
  const value = await answer.json();
  if (!answer.ok) throw new Error([value.error, value.cause, value.try && `try: ${value.try}`].filter(Boolean).join(' – '));
  return value;
}

async function guarded(job) {
  try {
    await job();
    at('said').textContent = '';
  } catch (e) {
    at('said').textContent = e.message;
  }
}

function row(cells, tag, open) {
  const tr = document.createElement('tr');
  for (const cell of cells) tr.appendChild(document.createElement(tag)).textContent = cell;
  if (open) {
    tr.dataset.open = '';
    tr.tabIndex = 0;
    tr.addEventListener('click', () => guarded(open));
    tr.addEventListener('keydown', (e) => { if (e.key === 'Enter') guarded(open); });
  }
  return tr;
}

function table(id, head, rows) {
  at(id).replaceChildren(row(head, 'th'), ...rows);
  at(id).hidden = false;
}

function bars(id, values) {
  const most = Math.max(1, ...values);
  const width = 240 / Math.max(1, values.length);
  at(id).replaceChildren(...values.map((v, i) => {
    const bar = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
    const height = 40 * v / most;
    for (const [name, value] of Object.entries({ x: i * width, y: 40 - height, width: width * 0.9, height })) bar.setAttribute(name, value);
    return bar;
  }));
}

const ms = (v) => `${(v || 0).toFixed(1)} ms`;
const clock = (t) => (t ? t.replace('T', ' ').slice(0, 19) : '–');

async function recorded() {
  const s = await ask('stats', { from: 'now-5m' });
  at('rate').textContent = `${s.exchanges} exchanges, at most ${s.rate.peak_per_second}/s`;
  bars('rates', s.rate.columns || []);
  table('routes', ['route', 'count', 'p50', 'p99', '4xx', '5xx'],
    (s.routes || []).slice(0, 10).map((r) => row([r.route, r.count, ms(r.p50_ms), ms(r.p99_ms), r.status_4xx, r.status_5xx], 'td')));
}

const paces = [];
let before = null;

async function runs() {
  const all = await ask('runs');
  const now = { time: Date.now(), sent: all.reduce((n, r) => n + r.sent, 0) };
  if (before && now.time > before.time) paces.push(Math.max(0, (now.sent - before.sent) * 1000 / (now.time - before.time)));
  before = now;
  if (paces.length > 60) paces.shift();
  bars('sent', paces);
  const busy = all.filter((r) => r.replicas > 0);
  const worst = Math.max(0, ...busy.map((r) => r.lateness_p99_ms || 0));
  at('pace').textContent = busy.length === 0 ? 'no run is at work'
    : `${busy.length} at work, ${Math.round(paces.at(-1) || 0)}/s sent, lateness p99 ${ms(worst)}`;
  table('runs', ['run', 'state', 'started (UTC)', 'sent', 'replicas', 'lateness p99', 'target'],
    all.map((r) => row([r.run, r.state, clock(r.started), r.sent, r.replicas, ms(r.lateness_p99_ms), r.target], 'td', () => opened(r.run))));
}

async function opened(run) {
  const r = await ask(`runs/${encodeURIComponent(run)}/report`);
  at('report').textContent = r.text;
  at('report').hidden = false;
  const differences = await ask(`runs/${encodeURIComponent(run)}/diff`);
  table('differences', ['request', 'recorded → got', 'where', 'exchange'], differences.map((d) => row([
    `${d.method} ${d.route}`, `${d.recorded_status || '–'} → ${d.status || d.reason || '–'}`,
    d.differences.map((p) => `${p.path} ${p.kind}: ${p.recorded || '–'} → ${p.got || '–'}`).join('\n'), d.exchange,
  ], 'td', () => exchange(d.exchange))));
}

async function exchange(id) {
  const x = await ask(`exchanges/${id}`);
  at('exchange').textContent = x.text;
  at('exchange').hidden = false;
  at('exchange').scrollIntoView({ block: 'nearest' });
}

async function exchanges() {
  const all = await ask('exchanges', Object.fromEntries(new FormData(at('search'))));
  table('exchanges', ['time (UTC)', 'method', 'status', 'took', 'host', 'target', 'flags'], all.map((x) => row([
    clock(x.time), x.request.method, x.response ? x.response.status : '–', x.response ? ms(x.response.duration_ns / 1e6) : '–',
    x.request.authority, x.request.target, x.flags.join(', '),
  ], 'td', () => exchange(x.id))));
}

at('search').addEventListener('submit', (e) => {
  e.preventDefault();
  guarded(exchanges);
});

async function live() {
  await guarded(async () => { await recorded(); await runs(); });
  setTimeout(live, document.hidden ? 20000 : 3000);
}

live();
guarded(exchanges);
