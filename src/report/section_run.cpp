#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "io/text.hpp"
#include "report/chart.hpp"
#include "report/html.hpp"
#include "report/sections.hpp"

namespace quern {
namespace {

constexpr std::size_t kCurvePoints = 240;

std::string fact(const char* name, const std::string& value, const std::string& more = "") {
  return fmt::format("<div><dt>{}</dt><dd>{}{}</dd></div>", name, escape(value),
                     more.empty() ? "" : fmt::format(" <small>{}</small>", escape(more)));
}

Chart loss_chart(const RunRecord& run) {
  Chart chart{"Loss", "epochs", {}};
  Series train{"training", {}, 0}, validation{"validation", {}, 1};
  validation.dots = true;
  for (const EpochRow& row : run.epochs) {
    if (run.loss.empty()) train.points.emplace_back(row.epoch, row.train_loss);
    if (row.validation_loss) validation.points.emplace_back(row.epoch, *row.validation_loss);
  }
  train.dots = run.loss.empty();
  if (!run.loss.empty()) train.points = thinned(run.loss, kCurvePoints);
  chart.logarithmic = true;
  chart.series.push_back(std::move(train));
  if (!validation.points.empty()) chart.series.push_back(std::move(validation));
  return chart;
}

Chart accuracy_chart(const RunRecord& run) {
  Chart chart{"Accuracy", "epochs", {}};
  Series train{"training", {}, 0}, validation{"validation", {}, 1};
  validation.dots = true;
  for (const EpochRow& row : run.epochs) {
    if (run.accuracy.empty()) train.points.emplace_back(row.epoch, row.train_accuracy);
    if (row.validation_accuracy) validation.points.emplace_back(row.epoch, *row.validation_accuracy);
  }
  train.dots = run.accuracy.empty();
  if (!run.accuracy.empty()) train.points = thinned(run.accuracy, kCurvePoints);
  chart.percent = true;
  chart.top = 1;
  chart.series.push_back(std::move(train));
  if (!validation.points.empty()) chart.series.push_back(std::move(validation));
  return chart;
}

Chart rate_chart(const RunRecord& run) {
  Chart chart{"Learning rate", "epochs", {}};
  chart.from_zero = true;
  const auto per_epoch = static_cast<long>(std::llround(run.steps_per_epoch()));
  Series rate{"", {}, 2};
  const Recipe& recipe = run.spec.recipe;
  // Steps of a schedule are corners: as many points as the curves have, and one more at the end.
  if (per_epoch > 0 && run.epochs.back().epoch <= recipe.epochs) {
    const long total = per_epoch * recipe.epochs, done = static_cast<long>(run.epochs.back().step);
    const long count = std::min<long>(done, static_cast<long>(kCurvePoints));
    for (long i = 0; i <= count; ++i) {
      const long step = std::min(done - 1, i * done / count);
      rate.points.emplace_back(static_cast<double>(step) / static_cast<double>(per_epoch),
                               learning_rate_at(recipe, step, total, per_epoch));
    }
  }
  chart.series.push_back(std::move(rate));
  return chart;
}

Chart speed_chart(const RunRecord& run) {
  Chart chart{"Images a second", "epochs", {}};
  chart.from_zero = true;
  Series speed{"", {}, 3};
  speed.dots = true;
  for (const EpochRow& row : run.epochs) speed.points.emplace_back(row.epoch, row.images_per_second);
  chart.series.push_back(std::move(speed));
  return chart;
}

std::int64_t parameters(const ModelSpec& spec) {
  std::int64_t sum = 0;
  for (const LayerSummary& layer : summarize(spec)) sum += layer.parameters;
  return sum;
}

}  // namespace

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "-";
  if (seconds < 60) return fmt::format("{:.{}f} s", seconds, seconds < 10 ? 2 : 1);
  const auto whole = static_cast<long long>(std::llround(seconds));
  return whole < 3600 ? fmt::format("{}:{:02} min", whole / 60, whole % 60)
                      : fmt::format("{}:{:02} h", whole / 3600, whole / 60 % 60);
}

std::string section_facts(const RunRecord& run) {
  std::string html = "<dl class=\"facts\">";
  if (run.test) {
    std::int64_t images = 0;
    for (const auto& row : run.test->confusion)
      for (const std::int64_t count : row) images += count;
    html += fact("test accuracy", percent_text(run.test->accuracy));
    html += fact("wrong", with_commas(run.test->mistakes_count), fmt::format("of {}", with_commas(images)));
    html += fact("test loss", fmt::format("{:.4f}", run.test->loss));
  }
  if (!run.epochs.empty()) {
    const auto epochs = run.epochs.back().epoch;
    html += fact("trained in", duration_text(run.seconds()),
                 fmt::format("{:g} epoch{}", epochs, epochs == 1 ? "" : "s"));
    html += fact("speed", with_commas(std::llround(std::min(1e15, run.epochs.back().images_per_second))),
                 "images/s");
  }
  return html + fact("parameters", with_commas(parameters(run.spec))) + "</dl>\n";
}

std::string section_curves(const RunRecord& run) {
  if (run.epochs.empty()) return "";
  return "<h2>Training</h2><div class=\"pair\">" + render_chart(loss_chart(run)) +
         render_chart(accuracy_chart(run)) + render_chart(rate_chart(run)) + render_chart(speed_chart(run)) +
         "</div>\n";
}

std::string section_repeat(const RunRecord& run) {
  std::string command = "quern";
  const auto words = run.config.find("command_line");
  if (words != run.config.end() && words->is_array())
    for (std::size_t i = 1; i < words->size(); ++i)
      if ((*words)[i].is_string()) command += fmt::format(" {}", shell_word((*words)[i].get<std::string>()));
  std::string html = "<h2>Repeat this run</h2>";
  html += fmt::format(
      "<pre>{}</pre><p class=\"note\">Quern {}, seed {}, {} with {} threads ({}), {}, data {}. The same "
      "build, device and number of threads give the same bits.</p>",
      escape(command), escape(run.text("quern_version")), escape(run.run_text("seed")),
      escape(run.run_text("device")), escape(run.run_text("threads")), escape(run.text("device_name")),
      escape(run.run_text("precision")), escape(run.run_text("data")));
  html += fmt::format("<details><summary>Recipe and settings</summary><pre>{}</pre></details>\n",
                      escape(nlohmann::json{{"recipe", to_json(run.spec.recipe)},
                                            {"run", run.config.value("run", nlohmann::json())}}
                                 .dump(2, ' ', false, nlohmann::json::error_handler_t::replace)));
  return html;
}

std::string section_time(const RunRecord& run) {
  const auto nodes = run.profile.find("nodes");
  if (!run.profile.is_object() || nodes == run.profile.end() || !nodes->is_array()) return "";
  struct Bar {
    std::string name, implementation;
    double us = 0, roofline = NAN;
  };
  std::vector<Bar> bars;
  double largest = 0, sum = 0;
  for (const nlohmann::json& node : *nodes) {
    if (!node.is_object() || !node.contains("us") || !node["us"].is_number()) continue;
    Bar bar{"", "", node["us"].get<double>(), NAN};
    if (node.contains("node") && node["node"].is_string()) bar.name = node["node"];
    if (node.contains("implementation") && node["implementation"].is_string())
      bar.implementation = node["implementation"];
    if (node.contains("of_roofline") && node["of_roofline"].is_number()) bar.roofline = node["of_roofline"];
    largest = std::max(largest, bar.us);
    sum += bar.us;
    bars.push_back(std::move(bar));
  }
  if (!(largest > 0)) return "";
  constexpr double kRow = 22, kLabel = 210, kLongest = 290, kWidth = 760;
  std::string svg = fmt::format(
      R"(<div class="scroll"><svg class="bars" style="min-width:640px" viewBox="0 0 {} {}" role="img" aria-label="time per node">)",
      kWidth, kRow * static_cast<double>(bars.size()) + 4);
  for (std::size_t i = 0; i < bars.size(); ++i) {
    const double y = kRow * static_cast<double>(i), width = std::max(1.0, bars[i].us / largest * kLongest);
    svg += fmt::format(
        R"(<text class="label" x="{}" y="{:.0f}" text-anchor="end">{}</text><rect class="bar" x="{}" y="{:.0f}" width="{:.1f}" height="14" rx="2"><title>{}</title></rect><text x="{:.1f}" y="{:.0f}">{:.1f} &#181;s, {:.1f} %{}</text>)",
        kLabel - 8, y + 15, escape(bars[i].name), kLabel, y + 4, width, escape(bars[i].implementation),
        kLabel + width + 6, y + 15, bars[i].us, bars[i].us / sum * 100,
        std::isfinite(bars[i].roofline) ? fmt::format(", {:.0f} % of roofline", bars[i].roofline * 100) : "");
  }
  return fmt::format(
      "<h2>Time per node</h2><p class=\"note\">Median of a training step's nodes, {:.1f} &#181;s together, "
      "as "
      "<code>quern profile</code> measured them.</p>{}</svg></div>\n",
      sum, svg);
}

std::string section_comparison(std::span<const RunRecord> runs) {
  Chart loss{"Training loss", "epochs", {}}, accuracy{"Accuracy (dashed: validation)", "epochs", {}};
  loss.logarithmic = true;
  accuracy.percent = true;
  accuracy.top = 1;
  std::string rows;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const RunRecord& run = runs[i];
    const int color = static_cast<int>(i % 6);
    Series train{run.name, {}, color}, train_accuracy{run.name, {}, color}, validation{"", {}, color, true};
    for (const EpochRow& row : run.epochs) {
      train.points.emplace_back(row.epoch, row.train_loss);
      train_accuracy.points.emplace_back(row.epoch, row.train_accuracy);
      if (row.validation_accuracy) validation.points.emplace_back(row.epoch, *row.validation_accuracy);
    }
    train.dots = train_accuracy.dots = true;
    loss.series.push_back(std::move(train));
    accuracy.series.push_back(std::move(train_accuracy));
    if (!validation.points.empty()) accuracy.series.push_back(std::move(validation));
    const Recipe& recipe = run.spec.recipe;
    const bool trained = !run.epochs.empty();
    rows += fmt::format(
        "<tr><th scope=\"row\">{}</th><td "
        "class=\"text\">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>"
        "<td class=\"text\">{}</td><td>{}</td><td>{:g}</td><td>{:g}</td><td>{}</td></tr>",
        escape(run.name), escape(run.spec.name), run.test ? percent_text(run.test->accuracy) : "&ndash;",
        run.test ? fmt::format("{:.4f}", run.test->loss) : "&ndash;", with_commas(parameters(run.spec)),
        trained ? fmt::format("{:g}", run.epochs.back().epoch) : "0",
        trained ? duration_text(run.seconds()) : "&ndash;",
        trained ? with_commas(std::llround(std::min(1e15, run.epochs.back().images_per_second))) : "&ndash;",
        to_string(recipe.optimizer), recipe.batch_size, recipe.learning_rate, recipe.weight_decay,
        escape(run.run_text("seed")));
  }
  std::string html = "<div class=\"scroll\"><table style=\"margin-top:24px\"><thead><tr>";
  for (const char* head : {"run", "model", "test accuracy", "test loss", "parameters", "epochs", "time",
                           "images/s", "optimizer", "batch", "rate", "decay", "seed"})
    html += fmt::format(
        "<th scope=\"col\"{}>{}</th>",
        std::string_view(head) == "model" || std::string_view(head) == "optimizer" ? " class=\"text\"" : "",
        head);
  html += "</tr></thead><tbody>" + rows + "</tbody></table></div>";
  html += "<h2>Training</h2><div class=\"pair\">" + render_chart(loss) + render_chart(accuracy) + "</div>\n";

  // Recall side by side, where the runs know the same classes.
  const auto known =
      std::find_if(runs.begin(), runs.end(), [](const RunRecord& run) { return run.test.has_value(); });
  if (known == runs.end()) return html;
  const auto& names = known->test->class_names;
  html += "<h2>Recall by class</h2><div class=\"scroll\"><table><thead><tr><th scope=\"col\">run</th>";
  for (const std::string& name : names) html += "<th scope=\"col\">" + escape(name) + "</th>";
  html += "</tr></thead><tbody>";
  for (const RunRecord& run : runs) {
    if (!run.test || run.test->class_names != names) continue;
    html += "<tr><th scope=\"row\">" + escape(run.name) + "</th>";
    for (std::size_t label = 0; label < names.size(); ++label) {
      std::int64_t sum = 0;
      for (const std::int64_t count : run.test->confusion[label]) sum += count;
      html += sum > 0 ? fmt::format("<td>{}</td>",
                                    percent_text(static_cast<double>(run.test->confusion[label][label]) /
                                                 static_cast<double>(sum)))
                      : "<td>&ndash;</td>";
    }
    html += "</tr>";
  }
  return html + "</tbody></table></div>\n";
}

}  // namespace quern
