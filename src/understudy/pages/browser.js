"use strict";
// The example browser: search, sort and filter questions, and open each to its answers. Rows come
// from the block's JSON; all text enters the page as text, never as markup.
document.querySelectorAll(".browser").forEach((browser) => {
  const STEP = 20;
  const FOLD = 700;
  const APART = 0.2;
  const data = JSON.parse(browser.querySelector("script.examples").textContent);
  const list = browser.querySelector(".list");
  const found = browser.querySelector(".found");
  const controls = browser.querySelector(".controls");
  const columns = data.columns;
  const arms = columns.map((column, at) => (column.series >= 0 ? at : -1)).filter((at) => at >= 0);
  const minus = "\u2212";

  const make = (tag, attributes, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value !== "" && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children);
    return element;
  };
  const langOf = (text) => (/[\u3400-\u9fff]/.test(text) ? "zh" : "");
  const scoreOf = (row, at) => (row.answers[at] ? row.answers[at][1] : null);
  const signed = (value) => {
    const size = Math.abs(value).toFixed(3).replace(/^0/, "");
    if (!/[1-9]/.test(size)) return size;
    return (value < 0 ? minus : "+") + size;
  };

  // What is worked out once for each row.
  const spreadOf = (row) => {
    const scores = arms.map((at) => scoreOf(row, at)).filter((score) => score !== null);
    return scores.length > 1 ? Math.max(...scores) - Math.min(...scores) : null;
  };
  const textsDiffer = (row) =>
    new Set(arms.map((at) => row.answers[at] && row.answers[at][0])).size > 1;
  data.rows.forEach((row, drawn) => {
    row.drawn = drawn;
    row.spread = spreadOf(row);
    row.disagree = data.score ? row.spread !== null && row.spread >= APART - 1e-9 : textsDiffer(row);
  });
  let isIndexed = false;
  const index = () => {
    if (isIndexed) return;
    for (const row of data.rows) {
      const texts = [...row.fields.map((field) => field[1]),
        ...row.answers.map((answer) => (answer ? answer[0] : ""))];
      row.text = texts.join("\n").toLowerCase();
    }
    isIndexed = true;
  };

  // Controls.
  const labelled = (label, control) => make("label", {}, make("span", {}, label), control);
  const choice = (options, name) =>
    make("select", { name }, ...options.map(([value, text]) => make("option", { value }, text)));
  const facet = (name, label) => {
    const values = [...new Set(data.rows.map((row) => row[name]))].sort();
    if (values.length < 2) return null;
    const select = choice([["*", "all"], ...values.map((one) => [`=${one}`, one || "(none)"])], name);
    controls.append(labelled(label, select));
    return select;
  };
  const query = make("input", { type: "search", name: "query", autocomplete: "off",
    placeholder: "questions and answers", spellcheck: "false" });
  controls.append(labelled("Search", query));
  const scored = columns.map((_, at) => at).filter((at) =>
    data.rows.some((row) => scoreOf(row, at) !== null));
  const orders = [["drawn", "as drawn"], ["task", "by task"]];
  if (scored.length > 1) {
    orders.push(["gap", "A " + minus + " B, largest first"], ["-gap", "A " + minus + " B, smallest first"]);
  }
  if (arms.length > 1 && data.score) orders.push(["spread", "spread over arms"]);
  const order = choice(orders, "order");
  controls.append(labelled("Sort", order));
  const [first, second] = ["A", "B"].map((letter, place) => {
    const select = choice(scored.map((at) => [at, columns[at].name]), letter.toLowerCase());
    if (scored.length > 1) {
      select.selectedIndex = place;
      controls.append(labelled(letter, select));
    }
    return select;
  });
  const facets = [["task", "Task"], ["split", "Set or split"], ["lang", "Language"]]
    .map(([name, label]) => [name, facet(name, label)]).filter(([, select]) => select);
  const disagree = make("input", { type: "checkbox", name: "disagree" });
  if (arms.length > 1) {
    const text = data.score ? `Arms disagree (scores ${APART} or more apart)` : "Arms disagree";
    controls.append(make("label", { class: "check" }, disagree, make("span", {}, text)));
  }
  const openAll = make("button", { type: "button", name: "open" }, "Open those shown");
  controls.append(openAll);
  const more = make("button", { type: "button", name: "more" }, "Show more");

  // One question.
  const marked = (text, wanted) => {
    const lower = text.toLowerCase();
    if (!wanted || lower.length !== text.length) return [text];
    const parts = [];
    let from = 0;
    for (let at = lower.indexOf(wanted); at >= 0; at = lower.indexOf(wanted, from)) {
      parts.push(text.slice(from, at), make("mark", {}, text.slice(at, at + wanted.length)));
      from = at + wanted.length;
    }
    parts.push(text.slice(from));
    return parts;
  };
  const folded = (tag, text, wanted) => {
    const whole = make(tag, { lang: langOf(text) });
    const at = wanted ? text.toLowerCase().indexOf(wanted) : -1;
    if (text.length <= FOLD * 1.2 || at + wanted.length > FOLD) {
      whole.append(...marked(text, wanted));
      return whole;
    }
    const count = text.length - FOLD;
    const button = make("button", { type: "button", class: "unfold" },
      `… ${count.toLocaleString("en")} more characters`);
    whole.append(...marked(text.slice(0, FOLD), wanted), button);
    button.addEventListener("click", () => {
      whole.replaceChildren(...marked(text, wanted));
      whole.tabIndex = -1;
      whole.focus();
    });
    return whole;
  };
  const swatch = (column) => {
    return make("span", { class: column.swatch, "aria-hidden": "true" }, column.glyph);
  };
  const body = (row, wanted) => {
    const fields = make("dl", { class: "fields" });
    for (const [name, text] of row.fields) {
      fields.append(make("dt", {}, name), folded("dd", text, wanted));
    }
    const answers = make("div", { class: "answers" });
    row.answers.forEach((answer, at) => {
      if (!answer) return;
      const name = make("h4", {}, make("span", { class: "score" }, answer[2]),
        swatch(columns[at]), columns[at].name);
      answers.append(make("div", { class: "answer" }, name, folded("p", answer[0], wanted)));
    });
    return make("div", {}, fields, answers);
  };
  const snippet = (row, wanted) => {
    if (!wanted || row.title.toLowerCase().includes(wanted)) return null;
    const texts = [...row.fields,
      ...row.answers.map((answer, at) => [columns[at].name, answer ? answer[0] : ""])];
    const [name, text] = texts.find((one) => one[1].toLowerCase().includes(wanted)) || ["", ""];
    const at = text.toLowerCase().indexOf(wanted);
    const part = text.slice(Math.max(0, at - 30), at + wanted.length + 50);
    return make("span", { class: "snippet" }, `${name}: … `,
      make("span", { lang: langOf(part) }, ...marked(part, wanted)), " …");
  };
  const gapOf = (row) => {
    const [one, other] = [first, second].map((select) => scoreOf(row, Number(select.value)));
    return one === null || other === null ? null : one - other;
  };
  const summary = (row, wanted) => {
    const marks = arms.filter((at) => row.answers[at] && row.answers[at][2])
      .map((at) => `${columns[at].name} ${row.answers[at][2]}`);
    if (order.value.endsWith("gap")) {
      const gap = gapOf(row);
      marks.push(`A ${minus} B ${gap === null ? "undefined" : signed(gap)}`);
    }
    const title = make("span", { lang: langOf(row.title) }, ...marked(row.title, wanted));
    const line = make("span", { class: "muted" }, marks.join(" · "));
    return make("summary", {}, title, line, ...[snippet(row, wanted)].filter(Boolean));
  };
  const drawn = (row, wanted) => {
    const details = make("details", { "data-row": String(row.drawn) }, summary(row, wanted));
    details.addEventListener("toggle", () => {
      if (details.open && details.children.length === 1) details.append(body(row, wanted));
    });
    return details;
  };

  // Which questions, in which order. What has no value stands last.
  const byValue = (valueOf, direction) => (one, other) => {
    const [left, right] = [valueOf(one), valueOf(other)];
    if (left === null || right === null) return (left === null) - (right === null);
    return direction * (left - right);
  };
  const ORDERS = {
    drawn: (one, other) => one.drawn - other.drawn,
    task: (one, other) => (one.task < other.task ? -1 : Number(one.task > other.task)),
    gap: byValue(gapOf, -1),
    "-gap": byValue(gapOf, 1),
    spread: byValue((row) => row.spread, -1),
  };
  const wantedText = () => query.value.trim().toLowerCase();
  const kept = () => {
    const wanted = wantedText();
    if (wanted) index();
    return data.rows.filter((row) =>
      (!wanted || row.text.includes(wanted)) &&
      (!disagree.checked || row.disagree) &&
      facets.every(([name, select]) => select.value === "*" || select.value === `=${row[name]}`),
    ).sort(ORDERS[order.value]);
  };
  let rows = [];
  let shown = 0;
  const show = (count) => {
    const wanted = wantedText();
    list.append(...rows.slice(shown, shown + count).map((row) => drawn(row, wanted)));
    shown = Math.min(rows.length, shown + count);
    more.hidden = shown === rows.length;
    openAll.disabled = shown === 0;
    const total = data.rows.length.toLocaleString("en");
    found.textContent = rows.length === data.rows.length
      ? `${shown} of ${total} questions shown`
      : `${rows.length.toLocaleString("en")} of ${total} questions match, ${shown} shown`;
  };
  const update = () => {
    rows = kept();
    shown = 0;
    list.replaceChildren();
    show(STEP);
  };
  query.addEventListener("input", update);
  for (const control of [order, disagree, ...facets.map(([, select]) => select)]) {
    control.addEventListener("change", update);
  }
  for (const select of [first, second]) {
    select.addEventListener("change", () => {
      if (!order.value.endsWith("gap")) order.value = "gap";
      update();
    });
  }
  controls.addEventListener("submit", (event) => event.preventDefault());
  openAll.addEventListener("click", () => {
    for (const details of list.children) details.open = true;
  });
  more.addEventListener("click", () => {
    const next = shown;
    show(STEP * 2);
    list.children[next].querySelector("summary").focus();
  });
  list.after(more);
  controls.hidden = false;
  update();
});
