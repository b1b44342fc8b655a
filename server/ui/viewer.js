// @ts-check
// The viewer: one approved window, camera by camera, on the wall clock. Footage comes by fetch into MSE and is never stored.

/** @typedef {{from: string, to: string, kind: "kept" | "gap" | "destroyed" | "unknown", cause?: string}} Stretch */
/** @typedef {{id: string, name: string, playable: boolean, playlist: string, stretches: Stretch[]}} GrantCamera */
/** @typedef {{range: {from: string, to: string}, cameras: GrantCamera[], play_minutes: number, play_until: string | null, now: string}} Grant */

/** @type {any} */
const Hls = /** @type {any} */ (globalThis).Hls;
const root = /** @type {HTMLElement} */ (document.getElementById("viewer"));
/** @template {Element} T @param {string} selector @returns {T} */
const one = (selector) => /** @type {T} */ (root.querySelector(selector));
const video = /** @type {HTMLVideoElement} */ (one("video"));
const says = /** @type {HTMLElement} */ (one(".says"));
const clock = /** @type {HTMLElement} */ (one(".clock"));
const bar = /** @type {SVGElement} */ (one(".bar svg"));
const playButton = /** @type {HTMLButtonElement} */ (one("#play"));
const words = root.dataset;
const zone = words.zone ?? "UTC";

/** Time of day in the site's zone. @param {number} at milliseconds since 1970 @param {boolean} [day] */
const wall = (at, day = false) =>
  // Swedish writes dates as this project does: 2026-11-22 14:03:05.
  new Intl.DateTimeFormat("sv-SE", {
    timeZone: zone, hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
    ...(day ? { year: "numeric", month: "2-digit", day: "2-digit" } : {}),
  }).format(at);

/** Offset of the site's zone at an instant. @param {number} at @returns {number} milliseconds */
function offset(at) {
  const part = Object.fromEntries(
    new Intl.DateTimeFormat("en-US", { timeZone: zone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric" })
      .formatToParts(at).map((one) => [one.type, Number(one.value)]));
  return Date.UTC(part.year, part.month - 1, part.day, part.hour, part.minute, part.second) - Math.floor(at / 1000) * 1000;
}

/** @type {Grant} */
let grant;
/** @type {GrantCamera} */
let camera;
/** @type {any} */
let hls = null;
let from = 0;
let to = 0;

/** @param {string} text */
const say = (text) => { says.textContent = text; };

/** The pieces of the playlist, as the player knows them. @returns {{start: number, duration: number, programDateTime: number, gap?: boolean}[]} */
const pieces = () => hls?.levels?.[0]?.details?.fragments ?? [];

/** Wall clock of a position in the player. @param {number} position @returns {number | null} */
function wallOf(position) {
  const piece = pieces().findLast((one) => one.start <= position + 1e-4) ?? pieces()[0];
  return piece ? piece.programDateTime + (position - piece.start) * 1000 : null;
}

/** Position of a wall-clock instant, brought into what there is. @param {number} at */
function positionOf(at) {
  const all = pieces();
  if (!all.length) return 0;
  const piece = all.findLast((one) => one.programDateTime <= at) ?? all[0];
  const end = all[all.length - 1];
  return Math.min(Math.max(piece.start + (at - piece.programDateTime) / 1000, all[0].start), end.start + end.duration - 0.1);
}

/** Where playing goes on if nothing was recorded at this position. @param {number} position @returns {number | null} */
function behindGap(position) {
  const all = pieces();
  let index = all.findLastIndex((one) => one.start <= position + 1e-3);
  if (index < 0 || !all[index].gap) return null;
  while (index < all.length && all[index].gap) index += 1;
  return index < all.length ? all[index].start + 0.01 : null;
}

/** @param {number} at */
function seek(at) {
  if (!hls) return;
  const position = positionOf(at);
  const behind = behindGap(position);
  say(behind === null ? "" : words.sayGap ?? "");
  video.currentTime = behind ?? position;
}

/** Draws the bar: stretches, and where playing is. */
function drawBar() {
  const span = Math.max(to - from, 1);
  const rect = (/** @type {number} */ x, /** @type {number} */ width, /** @type {string} */ kind) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    for (const [name, value] of Object.entries({ x, width, y: 0, height: 28, class: kind })) element.setAttribute(name, String(value));
    return element;
  };
  bar.replaceChildren(...camera.stretches.map((stretch) => {
    const start = Math.max(Date.parse(stretch.from), from);
    const end = Math.min(Date.parse(stretch.to), to);
    return rect(((start - from) / span) * 1000, Math.max(((end - start) / span) * 1000, 1), stretch.kind);
  }), rect(0, 3, "head-mark"));
  const scale = /** @type {HTMLElement} */ (one("#scale"));
  scale.replaceChildren(...[0, 0.25, 0.5, 0.75, 1].map((part) => {
    const mark = document.createElement("span");
    mark.textContent = wall(from + span * part);
    return mark;
  }));
}

/** Moves the clock and the mark on the bar. */
function tick() {
  const at = wallOf(video.currentTime);
  if (at === null) return;
  clock.textContent = wall(at, true);
  const part = Math.round(Math.min(Math.max((at - from) / Math.max(to - from, 1), 0), 1) * 1000);
  bar.querySelector(".head-mark")?.setAttribute("x", String(Math.min(part, 997)));
  bar.setAttribute("aria-valuenow", String(part));
  bar.setAttribute("aria-valuetext", wall(at));
  if (says.textContent === words.sayGap && !video.paused && behindGap(video.currentTime) === null) say("");
}

/** What the server said about a failure. @param {any} data @returns {string} */
function reason(data) {
  try {
    const request = data.networkDetails;
    const body = request?.response instanceof ArrayBuffer ? new TextDecoder().decode(request.response) : request?.responseText ?? request?.response;
    const problem = JSON.parse(body);
    return `${problem.detail} ${problem.remedy ?? ""}`;
  } catch {
    return String(data.details);
  }
}

/** Shows one camera, at the given instant where there is one. @param {GrantCamera} chosen @param {number | null} at */
function show(chosen, at) {
  camera = chosen;
  hls?.destroy();
  hls = null;
  drawBar();
  clock.textContent = "–";
  if (!camera.stretches.some((stretch) => stretch.kind === "kept")) return say(words.sayNothing ?? "");
  if (!camera.playable) return say(words.sayUnplayable ?? "");
  if (!Hls?.isSupported()) return say(words.sayUnsupported ?? "");
  say(words.sayLoading ?? "");
  const patient = { maxTimeToFirstByteMs: 45000, maxLoadTimeMs: 60000, timeoutRetry: { maxNumRetry: 1, retryDelayMs: 0, maxRetryDelayMs: 0 }, errorRetry: { maxNumRetry: 2, retryDelayMs: 500, maxRetryDelayMs: 2000, shouldRetry: (/** @type {any} */ config, /** @type {number} */ count, /** @type {boolean} */ _timeout, /** @type {any} */ response) => count < config.maxNumRetry && (!response || response.code >= 502 || response.code === 0) } };
  hls = new Hls({
    enableWorker: false, startPosition: 0, maxBufferLength: 20, maxMaxBufferLength: 40, backBufferLength: 20,
    maxBufferHole: 0.6, nudgeMaxRetry: 8,
    manifestLoadPolicy: { default: patient }, playlistLoadPolicy: { default: patient }, fragLoadPolicy: { default: patient },
  });
  hls.on(Hls.Events.LEVEL_LOADED, () => { if (at !== null) { const wanted = at; at = null; setTimeout(() => seek(wanted)); } });
  hls.on(Hls.Events.ERROR, (/** @type {string} */ _event, /** @type {any} */ data) => {
    if (!data.fatal) return;
    if (data.type === Hls.ErrorTypes.MEDIA_ERROR && !recovered) { recovered = true; hls.recoverMediaError(); return; }
    say(`${words.sayFailed ?? ""}${reason(data)}`);
    root.dataset.failed = data.details;
  });
  hls.loadSource(camera.playlist);
  hls.attachMedia(video);
  video.playbackRate = video.defaultPlaybackRate = Number(/** @type {HTMLInputElement} */ (one("input[name=speed]:checked")).value);
  // A refusal to start by itself is no failure: the button is there.
  video.play().catch(() => say(""));
}
let recovered = false;

function remaining() {
  const line = /** @type {HTMLElement} */ (one("#remaining"));
  const left = grant.play_until ? Date.parse(grant.play_until) - Date.now() - skew : grant.play_minutes * 60000;
  if (left <= 0) {
    hls?.destroy();
    hls = null;
    video.removeAttribute("src");
    video.load();
    line.textContent = "";
    return say(words.sayOver ?? "");
  }
  const minutes = Math.floor(left / 60000);
  line.textContent = `${words.sayRemaining ?? ""} ${minutes}:${String(Math.floor(left / 1000) % 60).padStart(2, "0")}`;
}
let skew = 0;

/** The mark over the picture: who watches, and when. */
function mark() {
  const text = `${words.viewerName ?? ""} · ${wall(Date.now() + skew, true).slice(0, 16)}`;
  root.querySelectorAll(".mark span").forEach((one) => { if (one.textContent !== text) one.textContent = text; });
}

async function loadGrant() {
  const answer = await fetch(words.viewer ?? "");
  const body = await answer.json();
  if (!answer.ok) throw new Error(`${body.detail} ${body.remedy ?? ""}`);
  grant = body;
  skew = Date.parse(grant.now) - Date.now();
}

function wire() {
  video.addEventListener("timeupdate", tick);
  video.addEventListener("seeked", tick);
  video.addEventListener("playing", () => { say(""); root.dataset.playing = "1"; if (!grant.play_until) loadGrant().catch(() => undefined); });
  video.addEventListener("waiting", () => { const behind = behindGap(video.currentTime); if (behind !== null) { say(words.sayGap ?? ""); video.currentTime = behind; } });
  video.addEventListener("ended", () => say(words.sayEnd ?? ""));
  for (const event of ["play", "pause", "ended"]) video.addEventListener(event, () => { playButton.textContent = (video.paused ? words.sayPlay : words.sayPause) ?? ""; });
  playButton.addEventListener("click", () => { if (video.paused) video.play().catch(() => undefined); else video.pause(); });
  const jumpBy = (/** @type {number} */ ms) => { const at = wallOf(video.currentTime); if (at !== null) seek(at + ms); };
  one("#back").addEventListener("click", () => jumpBy(-10000));
  one("#forth").addEventListener("click", () => jumpBy(10000));
  one("#frame-back").addEventListener("click", () => { video.pause(); jumpBy(-40); });
  one("#frame-forth").addEventListener("click", () => { video.pause(); jumpBy(40); });
  root.addEventListener("change", (event) => {
    const input = /** @type {HTMLInputElement} */ (event.target);
    if (input.name === "speed") video.playbackRate = Number(input.value);
    if (input.name === "camera") {
      const chosen = grant.cameras.find((one) => one.id === input.value);
      if (chosen) show(chosen, wallOf(video.currentTime));
    }
  });
  one("#jump").addEventListener("submit", (event) => {
    event.preventDefault();
    const [hours, minutes, seconds = 0] = /** @type {HTMLInputElement} */ (one("#at")).value.split(":").map(Number);
    const midnight = Math.floor((from + offset(from)) / 86400000) * 86400000 - offset(from);
    let at = midnight + ((hours * 60 + minutes) * 60 + seconds) * 1000;
    if (at < from - 1000) at += 86400000;
    seek(at);
  });
  const pointed = (/** @type {PointerEvent} */ event) => {
    const box = bar.getBoundingClientRect();
    seek(from + Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1) * (to - from));
  };
  bar.addEventListener("pointerdown", (event) => { bar.setPointerCapture(event.pointerId); pointed(event); });
  document.addEventListener("keydown", (event) => {
    if (event.target instanceof HTMLInputElement && event.target.type !== "radio") return;
    if (event.target instanceof HTMLButtonElement && event.key === " ") return;
    const radio = event.target instanceof HTMLInputElement;
    if (event.key === " ") { event.preventDefault(); playButton.click(); }
    else if (event.key === "ArrowLeft" && !radio) jumpBy(event.shiftKey ? -60000 : -10000);
    else if (event.key === "ArrowRight" && !radio) jumpBy(event.shiftKey ? 60000 : 10000);
    else if (event.key === ",") jumpBy(-40);
    else if (event.key === ".") jumpBy(40);
  });
  video.addEventListener("contextmenu", (event) => event.preventDefault());
}

try {
  await loadGrant();
  from = Date.parse(grant.range.from);
  to = Date.parse(grant.range.to);
  wire();
  const kept = grant.cameras.filter((one) => one.stretches.some((stretch) => stretch.kind === "kept"));
  const first = kept.find((one) => one.playable) ?? kept[0] ?? grant.cameras[0];
  const radio = /** @type {HTMLInputElement | null} */ (root.querySelector(`input[name=camera][value="${first.id}"]`));
  if (radio) radio.checked = true;
  show(first, null);
  remaining();
  setInterval(() => { remaining(); mark(); }, 1000);
} catch (error) {
  say(`${words.sayFailed ?? ""}${error instanceof Error ? error.message : error}`);
  root.dataset.failed = "grant";
}
