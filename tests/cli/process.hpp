#pragma once

/// Runs the built `quern` as its users do.

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace quern::test {

struct Outcome {
  int status = -1;  ///< exit status, or 128 + the signal that killed it
  std::string out, err;
};

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// A running `quern` whose working folder is `folder`.
class Process {
 public:
  Process(const std::vector<std::string>& arguments, const std::filesystem::path& folder) : folder_(folder) {
    std::vector<std::string> words{QUERN_BINARY};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const std::string out = (folder / "stdout").string(), err = (folder / "stderr").string();
    child_ = fork();
    if (child_ < 0) throw std::runtime_error("fork failed");
    if (child_ == 0) {
      // Only async-signal-safe calls from here on.
      const int out_file = open(out.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
      const int err_file = open(err.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
      const int in_file = open("/dev/null", O_RDONLY);
      if (chdir(folder.c_str()) != 0 || dup2(in_file, 0) < 0 || dup2(out_file, 1) < 0 ||
          dup2(err_file, 2) < 0)
        _exit(126);
      execv(argv[0], argv.data());
      _exit(127);
    }
  }
  ~Process() {
    if (child_ <= 0) return;
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void signal(int number) const { kill(child_, number); }
  bool running() {
    if (child_ <= 0) return false;
    if (waitpid(child_, &wait_status_, WNOHANG) == 0) return true;
    child_ = 0;
    return false;
  }
  Outcome wait() {
    if (child_ > 0) waitpid(child_, &wait_status_, 0);
    child_ = 0;
    Outcome outcome;
    outcome.status = WIFEXITED(wait_status_) ? WEXITSTATUS(wait_status_) : 128 + WTERMSIG(wait_status_);
    outcome.out = read_text(folder_ / "stdout");
    outcome.err = read_text(folder_ / "stderr");
    return outcome;
  }

 private:
  std::filesystem::path folder_;
  pid_t child_ = 0;
  int wait_status_ = 0;
};

}  // namespace quern::test
