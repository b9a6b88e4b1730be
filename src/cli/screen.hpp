#pragma once

/// The terminal behind standard error, borrowed for a picture that is drawn again and again.

#include <string>
#include <vector>

namespace quern::cli {

/// While one of these lives, standard error shows the terminal's alternate screen without a cursor. However
/// the process ends, short of SIGKILL, the terminal is given back as it was: by the destructor, or by a
/// handler when a signal kills; Ctrl-Z gives it back until the process goes on. One at a time.
class Screen {
 public:
  Screen();
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  /// Why there can be none: "" or what is in the way.
  static std::string absence();

  struct Size {
    std::size_t columns = 80, rows = 24;
  };
  /// Asked for anew at every call, so that a resized window is noticed.
  static Size size();

  /// Draws over what was there; the lines are of a window of this size.
  void draw(const std::vector<std::string>& lines, const Size& size);

  /// Gives the terminal back, if it is borrowed. For signal handlers that are about to kill.
  static void give_back_in_handler() noexcept;
};

/// Whether the locale's characters are UTF-8, by LC_ALL, LC_CTYPE and LANG in this order.
bool locale_is_utf8();
/// Whether NO_COLOR leaves colours alone: unset or empty.
bool colours_wanted();

}  // namespace quern::cli
