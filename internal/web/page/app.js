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

function shape(kind, attributes) {
  const s = document.createElementNS('http://www.w3.org/2000/svg', kind);
  for (const [name, value] of Object.entries(attributes)) s.setAttribute(name, value);
  return s;
}

function bars(id, values) {
  const most = Math.max(1, ...values);
  const width = 240 / Math.max(1, values.length);
  at(id).replaceChildren(...values.map((v, i) => {
    const height = 40 * v / most;
    return shape('rect', { x: i * width, y: 40 - height, width: width * 0.9, height });
  }));
}

// lines draws one line for each list; null is a gap in it. The largest value touches the top.
function lines(id, lists) {
  const most = Math.max(1e-9, ...lists.flat().filter((v) => v !== null));
  at(id).replaceChildren(...lists.map((values) => {
    const width = 240 / Math.max(1, values.length);
    let before = null;
    const d = values.map((v, i) => {
      const to = v === null ? '' : `${before === null ? 'M' : 'L'}${(i + 0.5) * width} ${39 - 38 * v / most}${before === null ? 'h0.01' : ''}`;
      before = v;
      return to;
    });
    return shape('path', { d: d.join('') });
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

const largest = (values) => Math.max(0, ...values.filter((v) => v !== null));
const latest = (values) => values.findLast((v) => v !== null);

// pace draws what runs have sent lately: of several at once, the worst.
async function pace(all) {
  const p = await ask('pace');
  const live = new Set(all.filter((r) => r.live).map((r) => r.run));
  const columns = Array.from({ length: Math.max(0, ...p.runs.map((r) => r.columns.length)) }, (_, i) => i);
  const worst = (runs, value) => columns.map((i) => {
    const there = runs.map((r) => r.columns[i]).filter((c) => c.sent > 0);
    return there.length === 0 ? null : Math.max(...there.map(value));
  });
  const sent = columns.map((i) => p.runs.reduce((n, r) => n + r.columns[i].sent, 0) / p.step_seconds);
  const [p50, p99] = [worst(p.runs, (c) => c.lateness_p50_ms), worst(p.runs, (c) => c.lateness_p99_ms)];
  const lag = worst(p.runs.filter((r) => live.has(r.run)), (c) => c.lag_seconds);
  bars('sent', sent);
  lines('lateness', [p50, p99]);
  lines('lag', [lag]);
  at('sent-said').textContent = p.runs.length === 0 ? 'sent: no outcome was stored (--results) in the last five minutes'
    : `sent, the last five minutes: at most ${Math.round(largest(sent))}/s${p.partial ? ' (the earliest left out)' : ''}`;
  at('lateness-said').textContent = p.runs.length === 0 ? 'lateness'
    : `lateness: p50 ${ms(latest(p50))}, p99 ${ms(latest(p99))}; at most ${ms(largest(p99))}`;
  at('lag-said').textContent = lag.every((v) => v === null) ? 'lag: no live run has sent anything'
    : `lag of live runs: ${latest(lag).toFixed(1)} s; at most ${largest(lag).toFixed(1)} s`;
}

async function runs() {
  const all = await ask('runs');
  const busy = all.filter((r) => r.replicas > 0);
  const worst = Math.max(0, ...busy.map((r) => r.lateness_p99_ms || 0));
  at('pace').textContent = busy.length === 0 ? 'no run is at work'
    : `${busy.length} at work (${busy.map((r) => r.run).slice(0, 5).join(', ')}${busy.length > 5 ? ', …' : ''}), lateness p99 ${ms(worst)} since they began`;
  table('runs', ['run', 'state', 'started (UTC)', 'sent', 'replicas', 'lateness p99', 'target'],
    all.map((r) => row([r.run, r.state, clock(r.started), r.sent, r.replicas, ms(r.lateness_p99_ms), r.target], 'td', () => opened(r.run))));
  await pace(all);
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
