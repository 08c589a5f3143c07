// The slider over the value curve, the readout under the pointer, and the choice of a radius.
// Corners and interpolation are those of wdaverify.exact.curve.ValueCurve.
"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const data = JSON.parse(at("data").textContent);
  const chart = at("chart");
  const view = Object.fromEntries(Object.entries(chart.dataset).map(([k, v]) => [k, Number(v)]));
  document.documentElement.classList.add("js");

  const number = (v) => (v === "inf" ? Infinity : v === "-inf" ? -Infinity : v);
  const rows = data.rows.map((row) => row.map(number));
  const curve = data.curve;
  const order = number(data.order);

  const figure = (v, digits) => {
    if (v === null || Number.isNaN(v)) return "–";
    if (!Number.isFinite(v)) return v > 0 ? "∞" : "−∞";
    const size = Math.abs(v);
    const plain = v === 0 || (size >= 1e-4 && size < 1e9);
    return String(plain ? Number(v.toPrecision(digits)) : v.toExponential(digits - 1)).replace(/-/g, "−");
  };

  // The last place whose entry is not above v.
  const place = (list, v) => {
    let low = 0;
    let high = list.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (list[middle] <= v) low = middle + 1;
      else high = middle;
    }
    return Math.max(low - 1, 0);
  };

  const fromCurve = (radius) => {
    const budget = Number.isFinite(order) ? radius ** order : radius;
    if (curve.interpolation === "step") {
      const k = place(curve.radius, radius);
      return { radius, lower: curve.lower[k], upper: curve.upper[k], slope: null, moved: null };
    }
    const last = curve.budget.length - 1;
    const k = place(curve.budget, budget);
    const beyond = Math.max(0, budget - curve.budget[last]);
    const between = (values, final) => {
      if (k >= last) return values[last] + final * beyond;
      const share = (budget - curve.budget[k]) / (curve.budget[k + 1] - curve.budget[k]);
      return values[k] + share * (values[k + 1] - values[k]);
    };
    const begun = budget === curve.budget[k] && k > 0 ? k - 1 : k;
    return {
      radius,
      lower: between(curve.lower, curve.final[0]),
      upper: between(curve.upper, curve.final[1]),
      slope: curve.slope[k],
      moved: curve.moved === null ? null : budget === 0 ? 0 : curve.moved[begun],
    };
  };

  // Without a curve the nearest row is read, and the slider goes there.
  const fromRows = (radius) => {
    const near = rows.reduce((a, b) => (Math.abs(b[0] - radius) < Math.abs(a[0] - radius) ? b : a));
    return { radius: near[0], lower: near[1], upper: near[2], slope: null, moved: null };
  };

  // At a radius asked for, the row may know more than a curve that was ended early.
  const read = (radius) => {
    if (curve === null) return fromRows(radius);
    const r = fromCurve(radius);
    const row = rows.find((one) => one[0] === radius);
    if (row === undefined || row[1] > r.upper || row[2] < r.lower) return r;
    return { ...r, lower: Math.max(r.lower, row[1]), upper: Math.min(r.upper, row[2]) };
  };

  const both = (r) => {
    const [low, high] = [figure(r.lower, 6), figure(r.upper, 6)];
    const close = r.upper - r.lower <= 5e-6 * Math.max(Math.abs(r.lower), Math.abs(r.upper), 1);
    return close || low === high ? high : `${figure(r.lower, 5)} to ${figure(r.upper, 5)}`;
  };
  const across = (r) => view.left + (r / view.end) * (view.right - view.left);
  const down = (v) => {
    const y = view.bottom - ((v - view.low) / (view.high - view.low)) * (view.bottom - view.top);
    return Math.min(Math.max(y, view.top), view.bottom);
  };
  const put = (id, r) => {
    const group = at(id);
    const inside = r.radius <= view.end * (1 + 1e-12);
    group.setAttribute("visibility", inside ? "visible" : "hidden");
    if (!inside) return;
    group.setAttribute("transform", `translate(${across(r.radius)} 0)`);
    group.querySelector("circle").setAttribute("cy", down(Number.isFinite(r.upper) ? (r.lower + r.upper) / 2 : r.upper));
  };

  const slider = at("slider");
  const typed = at("radius");
  const show = (radius, source) => {
    if (!Number.isFinite(radius) || radius < 0) return;
    const r = read(radius);
    if (source !== slider) slider.value = r.radius;
    if (source !== typed) typed.value = source === slider && curve !== null ? Number(r.radius.toPrecision(5)) : r.radius;
    const exact = source === slider && curve !== null ? read(Number(typed.value)) : r;
    slider.setAttribute("aria-valuetext", `radius ${figure(exact.radius, 5)}, value ${both(exact)}`);
    at("read-value").textContent = both(exact);
    at("read-bracket").textContent = `[${figure(exact.lower, 9)}, ${figure(exact.upper, 9)}]`;
    at("read-slope").textContent = figure(exact.slope, 5);
    at("read-moved").textContent = exact.moved === null ? "–" : `${exact.moved} of ${view.samples}`;
    const rise = exact.lower - view.nominal;
    at("read-rise").textContent = (rise >= 0 ? "+" : "") + figure(Number(rise.toPrecision(6)), 5);
    Object.assign(at("readout").dataset, { radius: exact.radius, lower: exact.lower, upper: exact.upper });
    put("cursor", exact);
  };
  at("read-slope-name").textContent = Number.isFinite(order) ? "Multiplier (slope)" : "Slope";
  slider.addEventListener("input", () => show(Number(slider.value), slider));
  typed.addEventListener("input", () => typed.value !== "" && show(Number(typed.value), typed));
  document.querySelectorAll("button[data-radius]").forEach((button) =>
    button.addEventListener("click", () => show(Number(button.dataset.radius), button)));
  show(Number(typed.value), null);

  const bubble = at("bubble");
  const under = (event) => {
    const box = chart.getBoundingClientRect();
    const scale = box.width / chart.viewBox.baseVal.width;
    const x = (event.clientX - box.left) / scale;
    return { scale, radius: ((x - view.left) / (view.right - view.left)) * view.end };
  };
  const hide = () => {
    at("ghost").setAttribute("visibility", "hidden");
    bubble.hidden = true;
  };
  chart.addEventListener("pointermove", (event) => {
    const { scale, radius } = under(event);
    if (radius < 0 || radius > view.end) return hide();
    const r = read(radius);
    put("ghost", r);
    bubble.hidden = false;
    bubble.textContent = `ε = ${figure(r.radius, 4)}: ${both(r)}`;
    const half = bubble.offsetWidth / 2;
    const width = chart.getBoundingClientRect().width;
    bubble.style.left = `${Math.min(Math.max(across(r.radius) * scale, half), width - half)}px`;
    bubble.style.top = `${down(r.upper) * scale}px`;
  });
  chart.addEventListener("pointerleave", hide);
  chart.addEventListener("click", (event) => {
    const { radius } = under(event);
    if (radius >= 0) show(Number(radius.toPrecision(4)), null);
  });

  const choose = (k) => document.querySelectorAll("[data-row]").forEach((element) =>
    element.classList.toggle("chosen", element.dataset.row === k));
  document.querySelectorAll("input[name=row]").forEach((input) =>
    input.addEventListener("change", () => choose(input.value)));
  const chosen = document.querySelector("input[name=row]:checked");
  if (chosen) choose(chosen.value);
})();
