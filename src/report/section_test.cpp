#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "io/text.hpp"
#include "report/html.hpp"
#include "report/sections.hpp"

namespace quern {
namespace {

std::int64_t row_sum(const TestRecord& test, std::size_t label) {
  return std::accumulate(test.confusion[label].begin(), test.confusion[label].end(), std::int64_t{0});
}

std::int64_t column_sum(const TestRecord& test, std::size_t predicted) {
  std::int64_t sum = 0;
  for (const auto& row : test.confusion) sum += row[predicted];
  return sum;
}

/// Hits are tinted by their share of the class, mistakes by their share of the most frequent mistake.
std::string cell(double strength, bool hit, const std::string& text, const std::string& title, bool none) {
  if (none) return fmt::format(R"(<td class="none" title="{}">{}</td>)", title, text);
  return fmt::format(R"x(<td class="{}" style="background:rgb(var(--{}) / {:.2f})" title="{}">{}</td>)x",
                     strength > 0.55 ? "strong" : "", hit ? "good" : "bad", strength, title, text);
}

std::string matrix(const TestRecord& test, bool normalised) {
  const std::size_t classes = test.class_names.size();
  double worst = 0;
  for (std::size_t label = 0; label < classes; ++label)
    for (std::size_t predicted = 0; predicted < classes; ++predicted)
      if (label != predicted && row_sum(test, label) > 0)
        worst = std::max(worst, static_cast<double>(test.confusion[label][predicted]) /
                                    static_cast<double>(row_sum(test, label)));
  std::string html =
      fmt::format("<div><h3>{}</h3><div class=\"scroll\"><table class=\"matrix\"><thead><tr><th></th>",
                  normalised ? "Share of the true class, in %" : "Images");
  for (const std::string& name : test.class_names) html += "<th scope=\"col\">" + escape(name) + "</th>";
  html += "</tr></thead><tbody>";
  for (std::size_t label = 0; label < classes; ++label) {
    html += "<tr><th scope=\"row\">" + escape(test.class_names[label]) + "</th>";
    const auto sum = static_cast<double>(std::max<std::int64_t>(1, row_sum(test, label)));
    for (std::size_t predicted = 0; predicted < classes; ++predicted) {
      const std::int64_t count = test.confusion[label][predicted];
      const bool hit = label == predicted;
      const double share = static_cast<double>(count) / sum;
      const double strength = hit ? 0.15 + 0.75 * share : worst > 0 ? 0.12 + 0.7 * share / worst : 0;
      const std::string text = !normalised       ? fmt::format("{}", count)
                               : share >= 0.9995 ? "100"
                                                 : fmt::format("{:.1f}", share * 100);
      html += cell(strength, hit, text,
                   fmt::format("{} taken for {}: {} of {}", escape(test.class_names[label]),
                               escape(test.class_names[predicted]), count, row_sum(test, label)),
                   count == 0 && !hit);
    }
    html += "</tr>";
  }
  return html + "</tbody></table></div></div>";
}

std::string ratio(std::int64_t part, std::int64_t whole) {
  return whole > 0 ? percent_text(static_cast<double>(part) / static_cast<double>(whole)) : "&ndash;";
}

}  // namespace

std::string section_confusion(const TestRecord& test) {
  return "<h2>Confusion</h2><p class=\"note\">Rows: the true class. Columns: what it was taken for.</p><div "
         "class=\"pair\">" +
         matrix(test, false) + matrix(test, true) + "</div>\n";
}

std::string section_classes(const TestRecord& test) {
  std::string html =
      "<h2>Classes</h2><p class=\"note\">Precision: of the images taken for the class, those that are. "
      "Recall: of the "
      "class's images, those found. F1: their harmonic mean.</p><div class=\"scroll\"><table><thead><tr><th "
      "scope=\"col\">class</th><th scope=\"col\">images</th><th scope=\"col\">precision</th><th "
      "scope=\"col\">recall</th><th scope=\"col\">F1</th></tr></thead><tbody>";
  for (std::size_t label = 0; label < test.class_names.size(); ++label) {
    const std::int64_t hits = test.confusion[label][label], images = row_sum(test, label),
                       taken = column_sum(test, label);
    html += fmt::format("<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                        escape(test.class_names[label]), with_commas(images), ratio(hits, taken),
                        ratio(hits, images), ratio(2 * hits, images + taken));
  }
  return html + "</tbody></table></div>\n";
}

std::string section_mistakes(const TestRecord& test) {
  if (test.mistakes.empty()) return "";
  const auto shown = static_cast<std::int64_t>(test.mistakes.size());
  std::string html = fmt::format(
      "<h2>Mistakes</h2><p class=\"note\">{} taken for another class{}, those first that the network was "
      "surest of.</p>"
      "<div class=\"digits\">",
      test.mistakes_count == 1 ? "1 image was" : with_commas(test.mistakes_count) + " images were",
      shown < test.mistakes_count ? fmt::format("; {} of them", shown) : "");
  for (const Mistake& mistake : test.mistakes) {
    const auto label = static_cast<std::size_t>(mistake.label),
               predicted = static_cast<std::size_t>(mistake.predicted);
    const std::string is = escape(test.class_names[label]), taken = escape(test.class_names[predicted]);
    html += "<figure>";
    if (!mistake.png_base64.empty())
      html += fmt::format(R"(<img alt="test image {}" src="data:image/png;base64,{}">)", mistake.index,
                          mistake.png_base64);
    html +=
        fmt::format("<figcaption><b>{} &rarr; {}</b><br>{}: {}<br>{}: {}<br>#{}</figcaption></figure>", is,
                    taken, taken, percent_text(static_cast<double>(mistake.probabilities[predicted]), 1), is,
                    percent_text(static_cast<double>(mistake.probabilities[label]), 1), mistake.index);
  }
  return html + "</div>\n";
}

}  // namespace quern
