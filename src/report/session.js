// Moves between the steps of a session: j, k and the arrows, and the hash of the address.
(() => {
  const steps = [...document.querySelectorAll("section.step")];
  if (steps.length === 0) return;
  let current = -1;

  function show(index, scroll) {
    if (index < 0 || index >= steps.length) return;
    current = index;
    document.querySelectorAll(".current").forEach((element) => element.classList.remove("current"));
    steps[index].classList.add("current");
    const lines = document.querySelectorAll(`.program a[href="#${steps[index].id}"]`);
    lines.forEach((line) => line.classList.add("current"));
    // Scrolls the program's own box only, never the page.
    const box = document.querySelector(".sticky");
    if (lines.length > 0 && box) {
      const line = lines[0].getBoundingClientRect();
      const frame = box.getBoundingClientRect();
      if (line.top < frame.top || line.bottom > frame.bottom) box.scrollTop += line.top - frame.top - frame.height / 2;
    }
    if (scroll) {
      history.replaceState(null, "", `#${steps[index].id}`);
      steps[index].scrollIntoView({ block: "start" });
      steps[index].focus({ preventScroll: true });
    }
  }

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "j" || event.key === "ArrowRight") show(current + 1, true);
    else if (event.key === "k" || event.key === "ArrowLeft") show(current - 1, true);
    else return;
    event.preventDefault();
  });
  const fromAddress = () => {
    const index = steps.findIndex((step) => `#${step.id}` === location.hash);
    if (index >= 0) show(index, false);
  };
  addEventListener("hashchange", fromAddress);
  fromAddress();
})();
