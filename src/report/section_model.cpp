#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "io/text.hpp"
#include "quern/image.hpp"
#include "report/filters.hpp"
#include "report/html.hpp"
#include "report/sections.hpp"

namespace quern {
namespace {

constexpr double kBoxWidth = 186, kBoxHeight = 40, kGapX = 26, kGapY = 20;

struct Box {
  std::string name, detail;
  std::vector<std::string> inputs;
  bool heavy = false;  ///< has weights
  int row = 0, column = 0;

  double x() const { return 20 + column * (kBoxWidth + kGapX); }
  double y() const { return 4 + row * (kBoxHeight + kGapY); }
};

std::string extents(const Shape& shape) {
  std::string text;
  for (int axis = 1; axis < shape.rank(); ++axis)
    text += fmt::format("{}{}", axis > 1 ? "\u00d7" : "", shape[axis]);
  return text;
}

/// Layers in rows by their distance from the input, the longest way. A layer stands below its first input
/// where that place is free, else beside it.
std::vector<Box> arrange(const ModelSpec& spec) {
  std::vector<Box> boxes;
  boxes.push_back(
      {"input", fmt::format("{}\u00d7{}\u00d7{}", spec.height, spec.width, spec.channels), {}, false, 0, 0});
  std::map<std::string, std::size_t> place{{"input", 0}};
  const auto layers = summarize(spec);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    Box box{spec.layers[i].name,
            fmt::format("{}  {}", layers[i].op, extents(layers[i].output)),
            spec.layers[i].inputs,
            layers[i].parameters > 0,
            0,
            0};
    if (box.heavy) box.detail += fmt::format("  {}", with_commas(layers[i].parameters));
    for (const std::string& input : box.inputs) box.row = std::max(box.row, boxes[place.at(input)].row + 1);
    box.column = boxes[place.at(box.inputs[0])].column;
    for (const std::string& input : box.inputs)
      box.column = std::min(box.column, boxes[place.at(input)].column);
    const auto taken = [&] {
      return std::any_of(boxes.begin(), boxes.end(), [&](const Box& other) {
        return other.row == box.row && other.column == box.column;
      });
    };
    while (taken()) ++box.column;
    place[box.name] = boxes.size();
    boxes.push_back(std::move(box));
  }
  return boxes;
}

/// Straight down to the next row; a longer way leaves at the side and passes the boxes between.
std::string edge(const Box& from, const Box& to) {
  const double x0 = from.x() + kBoxWidth / 2, y0 = from.y() + kBoxHeight, x1 = to.x() + kBoxWidth / 2,
               y1 = to.y();
  if (to.row == from.row + 1) {
    const double middle = (y0 + y1) / 2;
    return from.column == to.column ? fmt::format("M{:.0f} {:.0f}V{:.0f}", x0, y0, y1 - 1)
                                    : fmt::format("M{:.0f} {:.0f}C{:.0f} {:.0f} {:.0f} {:.0f} {:.0f} {:.0f}",
                                                  x0, y0, x0, middle + 6, x1, middle - 6, x1, y1 - 1);
  }
  const double left = std::min(from.x(), to.x());
  return fmt::format(
      "M{:.0f} {:.0f}H{:.0f}Q{:.0f} {:.0f} {:.0f} {:.0f}V{:.0f}Q{:.0f} {:.0f} {:.0f} {:.0f}H{:.0f}", from.x(),
      from.y() + kBoxHeight / 2, left - 8, left - 14, from.y() + kBoxHeight / 2, left - 14,
      from.y() + kBoxHeight / 2 + 6, to.y() + kBoxHeight / 2 - 6, left - 14, to.y() + kBoxHeight / 2,
      left - 8, to.y() + kBoxHeight / 2, to.x() - 1);
}

}  // namespace

std::string section_network(const ModelSpec& spec) {
  const std::vector<Box> boxes = arrange(spec);
  std::map<std::string, const Box*> by_name;
  int columns = 0, rows = 0;
  for (const Box& box : boxes) {
    by_name[box.name] = &box;
    columns = std::max(columns, box.column + 1);
    rows = std::max(rows, box.row + 1);
  }
  const double width = 24 + columns * (kBoxWidth + kGapX) - kGapX,
               height = 8 + rows * (kBoxHeight + kGapY) - kGapY;
  std::string paths, labels;
  for (const Box& box : boxes) {
    for (const std::string& input : box.inputs)
      paths += fmt::format(R"x(<path d="{}" marker-end="url(#tip)"/>)x", edge(*by_name.at(input), box));
    const std::string name = box.name.size() > 26 ? box.name.substr(0, 24) + ".." : box.name;
    labels += fmt::format(
        R"(<g{}><rect x="{:.0f}" y="{:.0f}" width="{}" height="{}" rx="5"/><text class="name" x="{:.0f}" )"
        R"(y="{:.0f}">{}</text><text x="{:.0f}" y="{:.0f}">{}</text></g>)",
        box.heavy ? " class=\"heavy\"" : "", box.x(), box.y(), kBoxWidth, kBoxHeight, box.x() + 10,
        box.y() + 17, escape(name), box.x() + 10, box.y() + 32, escape(box.detail));
  }
  return fmt::format(
      R"(<h2>Network</h2><p class="note">{}</p><figure class="network scroll"><svg style="max-width:{:.0f}px" )"
      R"(viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="layers of the network"><defs><marker id="tip" )"
      R"(viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">)"
      R"(<path d="M0 0L8 4L0 8Z"/></marker></defs>{}{}</svg></figure>)"
      "\n",
      escape(spec.description.empty() ? spec.name : spec.description), width, width, height, paths, labels);
}

std::string section_filters(const RunRecord& run) {
  if (!run.checkpoint) return "";
  const Checkpoint& checkpoint = *run.checkpoint;
  const auto filters =
      first_layer_filters(checkpoint.spec, checkpoint.ema.empty() ? checkpoint.weights : checkpoint.ema);
  if (!filters) return "";
  std::string html = fmt::format(
      "<h2>First-layer filters</h2><p class=\"note\">{} of {}, {}\u00d7{}{}</p><div class=\"filters\">",
      filters->pictures.size(), escape(filters->layer), filters->height, filters->width,
      filters->signed_colors
          ? fmt::format("; blue is negative, orange positive, full colour \u00b1{:.2g}.", filters->largest)
          : ".");
  for (std::size_t i = 0; i < filters->pictures.size(); ++i)
    html += fmt::format(R"(<img alt="filter {}" src="data:image/png;base64,{}">)", i,
                        base64(encode_png(filters->pictures[i])));
  return html + "</div>\n";
}

}  // namespace quern
