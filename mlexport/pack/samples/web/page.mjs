// SPDX-License-Identifier: Apache-2.0
// A search box over documents.json.
const [query, progress, status, results, facts] = ["query", "progress", "status", "results", "facts"].map((id) =>
  document.getElementById(id),
);
const examples = document.querySelector(".examples");
const worker = new Worker(new URL("worker.mjs", import.meta.url), { type: "module" });
let asked = 0;

const megabytes = (bytes) => (bytes < 1e5 ? `${(bytes / 1e3).toFixed(1)} KB` : `${(bytes / 1e6).toFixed(1)} MB`);

function element(name, text, className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

function ask() {
  const text = query.value.trim();
  asked += 1;
  if (text) worker.postMessage({ type: "search", number: asked, query: text });
  else {
    results.replaceChildren();
    status.textContent = "";
  }
}

const handlers = {
  progress({ done, all }) {
    progress.max = all;
    progress.value = done;
    status.textContent = `Reading the documents: ${done} of ${all}`;
  },
  ready({ facts: model, bytes }) {
    progress.hidden = true;
    examples.hidden = false;
    query.disabled = false;
    query.focus();
    status.textContent = "";
    const size = `${megabytes(model.bytes)} model`;
    facts.textContent = `${model.name} ${model.cut} ${model.precision} · ${size} · ${megabytes(bytes)} of vectors`;
    if (query.value) ask();
  },
  found({ number, hits, milliseconds }) {
    // Answers to what has been typed over since are dropped
    if (number !== asked) return;
    status.textContent = `${hits.length} nearest, ${milliseconds.toFixed(0)} ms`;
    results.replaceChildren(
      ...hits.map(({ text, score }) => {
        const item = element("li", "");
        const bar = element("span", "", "bar");
        bar.style.setProperty("--share", Math.max(0, Math.min(1, score)));
        item.append(element("span", text, "text"), element("span", score.toFixed(2), "score"), bar);
        return item;
      }),
    );
  },
  error({ message }) {
    progress.hidden = true;
    status.textContent = `It did not work: ${message}`;
    status.classList.add("error");
  },
};
worker.onmessage = ({ data }) => handlers[data.type](data);
worker.onerror = (event) => handlers.error({ message: event.message || "the libraries are missing: run `npm install`" });

query.addEventListener("input", ask);
query.form.addEventListener("submit", (event) => event.preventDefault());
for (const button of examples.querySelectorAll("button")) {
  button.addEventListener("click", () => {
    query.value = button.textContent;
    ask();
  });
}

const response = await fetch("documents.json");
worker.postMessage({ type: "load", documents: await response.json() });
