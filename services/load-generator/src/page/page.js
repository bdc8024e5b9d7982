// Every text that came from outside is set as text, never as markup. The token stays in this tab's memory.
"use strict";

const at = (id) => document.getElementById(id);
const say = (text) => { at("message").textContent = text; };
let token = "";

async function call(method, path, body) {
  const headers = { Authorization: `Bearer ${token}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  if (!answer.ok) {
    const refusal = await answer.json().catch(() => ({}));
    throw new Error(refusal.error || `the generator answered ${answer.status}`);
  }
  return answer;
}

const told = (action) => async () => {
  try { await action(); } catch (error) { say(error.message); }
};

function show(sample) {
  const seconds = Math.max((sample.to_ns - sample.from_ns) / 1e9, 1e-9);
  const sum = (name) => sample.phases.reduce((total, phase) => total + phase.counts[name], 0);
  const [completed, failed] = [sum("completed"), sum("failed")];
  const latency = sample.phases.reduce((total, phase) => total + phase.latency_sum_ns, 0);
  at("offered").textContent = `${(sum("offered") / seconds).toFixed(0)}/s`;
  at("answered").textContent = `${(completed / seconds).toFixed(0)}/s`;
  at("failed").textContent = `${failed + sum("dropped")}`;
  at("response").textContent = completed + failed ? `${(latency / (completed + failed) / 1e6).toFixed(2)} ms` : "–";
  at("flight").textContent = `${sample.in_flight}, ${sample.queued}`;
}

async function look() {
  const status = await (await call("GET", "/load")).json();
  at("state").textContent = status.plan ? `${status.state} (${status.plan})` : status.state;
  at("pause").setAttribute("aria-pressed", String(status.state === "paused"));
  at("pause").textContent = status.state === "paused" ? "Continue" : "Pause";
}

async function follow(mine) {
  while (token === mine) {
    try {
      const reader = (await call("GET", "/load/samples")).body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (let part = await reader.read(); !part.done && token === mine; part = await reader.read()) {
        text += part.value;
        const events = text.split("\n\n");
        text = events.pop();
        for (const event of events) {
          const data = event.split("\n").find((line) => line.startsWith("data:"));
          if (data) { show(JSON.parse(data.slice(5))); await look(); }
        }
      }
      await look();
    } catch (error) {
      say(error.message);
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  }
}

at("connect").onclick = told(async () => {
  token = at("token").value.trim();
  at("token").value = "";
  await look();
  at("steer").disabled = false;
  say("Connected.");
  follow(token);
});
at("start").onclick = told(async () => {
  await call("GET", "/start");
  say("The default load has begun.");
});
at("rate").oninput = () => { at("wanted").textContent = `${at("rate").value}/s`; };
at("rate").onchange = told(() => call("PATCH", "/load", { rate: Number(at("rate").value) }));
at("planned").onclick = told(async () => {
  await call("PATCH", "/load", { rate: -1 });
  at("wanted").textContent = "as planned";
});
at("pause").onclick = told(async () => {
  await call("PATCH", "/load", { pause: at("pause").getAttribute("aria-pressed") !== "true" });
  await look();
});
at("stop").onclick = told(() => call("DELETE", "/load"));
