// The map of a run: says what a square means, where the pointer or the focus is, from its row, its column and the legend;
// and is one stop of the Tab key, in which the arrows go from square to square.
(() => {
  const map = document.querySelector("table.heat");
  if (!map) return;
  const explain = (event) => {
    const square = event.target.closest("td > a, td > span");
    if (!square || square.title) return;
    const cell = square.parentElement;
    const task = cell.parentElement.cells[0].textContent;
    const column = map.tHead.rows[0].cells[cell.cellIndex].textContent;
    const legend = [...document.querySelectorAll(".legend i")].find((key) => key.textContent === square.textContent);
    square.title = [task, column, legend ? legend.parentElement.textContent : ""].join(" · ");
  };
  map.addEventListener("mouseover", explain);
  map.addEventListener("focusin", explain);

  const links = [...map.querySelectorAll("td > a")];
  if (links.length === 0) return;
  // Tab leads to this one.
  let stop = links[0];
  const stopAt = (link) => {
    stop.tabIndex = -1;
    stop = link;
    stop.tabIndex = 0;
  };
  links.forEach((link) => { link.tabIndex = -1; });
  stopAt(stop);
  map.addEventListener("focusin", (event) => stopAt(event.target.closest("td > a") ?? stop));
  document.getElementById("differ")?.addEventListener("change", () => {
    if (!stop.checkVisibility()) stopAt(links.find((link) => link.checkVisibility()) ?? stop);
  });

  const body = map.tBodies[0];
  // The names stay in sight, and must not hide the square that has the focus.
  map.parentElement.style.scrollPadding = `${map.tHead.offsetHeight}px 0 0 ${body.rows[0].cells[0].offsetWidth}px`;
  const ways = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  map.addEventListener("keydown", (event) => {
    const way = ways[event.key];
    if (!way || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    let [row, column] = [stop.closest("tr").sectionRowIndex, stop.parentElement.cellIndex];
    // Over rows that are hidden and squares that lead nowhere.
    for (;;) {
      row += way[0];
      column += way[1];
      const link = body.rows[row]?.cells[column]?.querySelector("a");
      if (link?.checkVisibility()) return link.focus();
      if (row < 0 || column < 1 || row >= body.rows.length || column >= body.rows[0].cells.length) return;
    }
  });
})();
