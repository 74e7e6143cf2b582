// The page works without this. With it, it says early what is missing in a Matrix ID, and follows by itself.
"use strict";

const field = document.getElementById("user");
const hint = document.getElementById("hint");
if (field && hint) {
  const usual = hint.textContent;
  field.addEventListener("input", () => {
    const typed = field.value.trim();
    let text = usual;
    let good = false;
    if (typed !== "" && !typed.startsWith("@")) {
      text = hint.dataset.at;
    } else if (typed !== "" && !/^@[^:]*:.+/.test(typed)) {
      text = hint.dataset.server;
    } else if (typed !== "") {
      good = /^@[!-9;-~]*:[A-Za-z0-9.\-[\]:]+$/.test(typed);
      text = good ? hint.dataset.good : hint.dataset.bad;
    }
    hint.classList.toggle("good", good);
    if (hint.textContent !== text) {
      hint.textContent = text;
    }
  });
  field.form.addEventListener("submit", () => {
    const button = field.form.querySelector("button");
    button.setAttribute("aria-busy", "true");
    window.addEventListener("pageshow", () => button.removeAttribute("aria-busy"), { once: true });
  });
}

const stage = document.getElementById("stage");
if (stage && Number(stage.dataset.seconds) > 0) {
  const state = `${location.pathname.replace(/\/$/, "")}/state`;
  const follow = async () => {
    let again = Number(stage.dataset.seconds);
    try {
      const answer = await fetch(state, { cache: "no-store", credentials: "omit" });
      if (answer.ok) {
        const now = await answer.json();
        if (now.stage !== stage.dataset.stage) {
          location.reload();
          return;
        }
        const place = document.getElementById("place");
        const text = now.ahead ? stage.dataset.places.replace("{count}", now.ahead) : stage.dataset.next;
        if (place && place.textContent !== text) {
          place.textContent = text;
        }
        again = now.again;
      }
    } catch {
      again = 10;
    }
    setTimeout(follow, again * 1000);
  };
  setTimeout(follow, Number(stage.dataset.seconds) * 1000);
}
