"use strict";

// A head's button sorts its table: by number where every entry begins with one, else by text; again, the other way.
const value = (cell) => (cell ? cell.textContent.trim() : "");
const sizes = { k: 1e3, M: 1e6, G: 1e9 };
const number = (text) => {
  const plain = text.replace(/,/g, "").replace(/^[−–]/, "-");
  return parseFloat(plain) * (sizes[(plain.match(/^[-+\d.]+([kMG])/) || [])[1]] || 1);
};

function sort(button) {
  const head = button.closest("th");
  const body = head.closest("table").tBodies[0];
  const column = head.cellIndex;
  const down = head.getAttribute("aria-sort") === "ascending";
  const rows = [...body.rows].map((row) => ({ row, text: value(row.cells[column]) }));
  const missing = (text) => text === "" || text === "-" || text === "failed";
  const numeric = rows.every(({ text }) => missing(text) || !Number.isNaN(number(text)));
  rows.sort((a, b) => {
    if (missing(a.text) || missing(b.text)) return missing(a.text) - missing(b.text); // last either way
    const order = numeric ? number(a.text) - number(b.text) : a.text.localeCompare(b.text, "en", { numeric: true });
    return down ? -order : order;
  });
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  for (const { row } of rows) row.classList.remove("ruled"); // it parted what is now mixed
  body.append(...rows.map(({ row }) => row));
}

// A link to a file beside the page gives the copy inside it, where there is one.
function give(link) {
  const held = document.querySelector(`script[data-file="${link.getAttribute("href")}"]`);
  if (!held) return false;
  const text = new Blob([held.textContent.replace(/<\\\//g, "</")], { type: "text/csv" });
  const copy = document.createElement("a");
  copy.href = URL.createObjectURL(text);
  copy.download = link.getAttribute("href");
  copy.click();
  URL.revokeObjectURL(copy.href);
  return true;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("table.sorts th button");
  if (button) sort(button);
  const link = event.target.closest("a[href$='.csv']");
  if (link && give(link)) event.preventDefault();
});

// Paper shows everything; a link into a folded part opens it.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => (part.open = true)));
function open() {
  let part = location.hash && document.getElementById(location.hash.slice(1));
  for (; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
}
addEventListener("hashchange", open);
open();
