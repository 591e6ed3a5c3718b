"use strict";
(() => {
  const EVERY = 2000;
  const live = document.getElementById("live");
  const state = document.getElementById("state");
  let pressed = false;

  // A press lasts until its click has been handled: what is replaced meanwhile gets no click.
  addEventListener("pointerdown", () => { pressed = true; });
  for (const end of ["pointerup", "pointercancel"]) {
    addEventListener(end, () => setTimeout(() => { pressed = false; }, 100));
  }
  addEventListener("submit", (event) => {
    const question = event.target.dataset.confirm;
    if (question && !confirm(question)) event.preventDefault();
  });
  if (!live) return;

  const selecting = () => {
    const selection = getSelection();
    return selection && !selection.isCollapsed && live.contains(selection.anchorNode);
  };
  const update = async () => {
    if (document.hidden || pressed || selecting()) return;
    try {
      const answer = await fetch("/live" + location.search, { signal: AbortSignal.timeout(5000) });
      if (!answer.ok) throw new Error(answer.status);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (pressed || selecting()) return;
      const focused = document.activeElement && document.activeElement.id;
      for (const section of fresh.querySelectorAll("section[id]")) {
        const old = document.getElementById(section.id);
        if (old && !old.isEqualNode(section)) old.replaceWith(document.adoptNode(section));
      }
      const again = focused && document.getElementById(focused);
      if (again && again !== document.activeElement) again.focus();
      state.textContent = "live";
      state.className = "ok";
    } catch (error) {
      state.textContent = "no answer from the server since " + (state.dataset.since ||= new Date().toLocaleTimeString());
      state.className = "failed";
      return;
    }
    delete state.dataset.since;
  };
  const loop = async () => {
    await update();
    setTimeout(loop, EVERY);
  };
  document.addEventListener("visibilitychange", update);
  setTimeout(loop, EVERY);
})();
