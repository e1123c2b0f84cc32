"use strict";
// Clips play in step, a row at a time: under the pointer, with the focus on the row's button, or after a tap.
(() => {
  document.documentElement.classList.add("has-script");
  const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

  // A clip that the page holds once and shows often.
  for (const video of document.querySelectorAll("video")) {
    video.controls = false;
    video.muted = true; // the attribute alone does not count for pages that are changed by a script
    const original = video.dataset.like && document.getElementById(video.dataset.like);
    if (original) video.src = original.src;
  }

  // Phones allow few players at a time: there, clips out of sight give theirs back.
  if (matchMedia("(pointer: coarse)").matches && "IntersectionObserver" in window) {
    const sources = new Map();
    const nearby = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries) {
          if (isIntersecting === target.hasAttribute("src")) continue;
          if (isIntersecting) {
            target.src = sources.get(target);
          } else {
            target.removeAttribute("src");
            target.load();
          }
        }
      },
      { rootMargin: "400px" },
    );
    for (const video of document.querySelectorAll("video")) {
      sources.set(video, video.src);
      nearby.observe(video);
    }
  }

  class Row {
    constructor(element) {
      this.videos = [...element.querySelectorAll("video")];
      this.button = element.querySelector("button.play");
      this.pinned = false; // plays until it is told to stop
      this.visited = false; // plays while pointer or focus is there
      this.playing = false;
      element.addEventListener("pointerenter", (event) => {
        if (event.pointerType === "mouse") this.visit(!reducedMotion.matches);
      });
      element.addEventListener("pointerleave", (event) => {
        if (event.pointerType === "mouse") this.visit(false);
      });
      element.addEventListener("focusin", (event) => {
        if (event.target.matches(":focus-visible")) this.visit(!reducedMotion.matches);
      });
      element.addEventListener("focusout", () => this.visit(false));
      this.button.addEventListener("click", () => this.toggle());
      for (const video of this.videos) {
        video.addEventListener("click", () => this.toggle());
      }
    }

    visit(visited) {
      this.visited = visited;
      this.update();
    }

    toggle() {
      this.pinned = !this.playing;
      this.visited = false;
      this.update();
    }

    pin(pinned) {
      this.pinned = pinned;
      this.visited = false;
      this.update();
    }

    update() {
      const playing = this.pinned || this.visited;
      if (playing !== this.playing) {
        this.playing = playing;
        this.button.textContent = playing ? "Pause" : "Play";
        this.button.setAttribute("aria-pressed", String(playing));
        if (playing) this.play();
        else for (const video of this.videos) video.pause();
      }
      updateAll();
    }

    play() {
      for (const video of this.videos) {
        video.currentTime = 0;
        video.play().catch(() => {}); // a clip that cannot be played does not stop the others
      }
      requestAnimationFrame(() => this.keepInStep());
    }

    // The longest clip leads; the others follow it, and shorter ones start over within it.
    keepInStep() {
      if (!this.playing) return;
      const ready = this.videos.filter((video) => video.readyState >= 2 && video.duration > 0);
      if (ready.length > 1) {
        const leader = ready.reduce((one, other) => (other.duration > one.duration ? other : one));
        for (const video of ready) {
          if (video.paused) video.play().catch(() => {}); // it came into sight after the others
          const wanted = leader.currentTime % video.duration;
          const apart = Math.abs(video.currentTime - wanted);
          // Near the end of a loop the clips may be apart by a whole round, and yet in step.
          const late = Math.min(apart, Math.abs(video.duration - apart));
          if (video !== leader && late > 0.1 && !video.seeking) video.currentTime = wanted;
        }
      }
      requestAnimationFrame(() => this.keepInStep());
    }
  }

  const rows = [...document.querySelectorAll("article.cell")].map((element) => new Row(element));
  const all = document.getElementById("play-all");

  function updateAll() {
    const playing = rows.some((row) => row.pinned);
    all.textContent = playing ? "Pause" : "Play all";
    all.setAttribute("aria-pressed", String(playing));
  }

  if (all) {
    all.addEventListener("click", () => {
      const playing = rows.some((row) => row.pinned);
      for (const row of rows) row.pin(!playing);
    });
  }

  // On paper everything is open, and clips show their first frame.
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
    for (const row of rows) {
      row.pin(false);
      for (const video of row.videos) video.currentTime = 0;
    }
  });
})();
