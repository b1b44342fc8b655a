// @ts-check
// Keeps one part of a page fresh: fetches the page again and replaces the part. Without script the page is simply reloaded by hand.

const seconds = () => Number(document.getElementById("live")?.dataset.live ?? 0);

/** Fetches this page and puts its fresh part in place of the old one. Open details stay open. */
async function refresh() {
  const old = document.getElementById("live");
  if (!old || document.hidden) return;
  const answer = await fetch(location.href, { headers: { "X-Custody-Live": "1" }, redirect: "manual" });
  if (answer.type === "opaqueredirect" || answer.status === 401) {
    location.reload();
    return;
  }
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById("live");
  if (!fresh) return;
  const open = [...old.querySelectorAll("details")].map((one) => one.open);
  if (old.contains(document.activeElement) && document.activeElement !== document.body) return;
  old.replaceWith(fresh);
  fresh.querySelectorAll("details").forEach((one, index) => { one.open = open[index] ?? one.open; });
}

async function run() {
  for (;;) {
    const wait = seconds();
    if (!wait) return;
    await new Promise((done) => setTimeout(done, wait * 1000));
    await refresh().catch(() => undefined);
  }
}
run();
