#include "agent/pods/container_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

namespace keelson::pods {
namespace {

constexpr size_t kBytes = 2048, kLines = 80;
constexpr off_t kRead = 64 << 10;  // timestamps and tags come on top of what is kept

// "2026-11-22T17:00:00.000000001Z stdout F text" → "text\n", or "text" of a part (P).
std::string content_of(std::string_view line) {
  size_t at = 0;
  bool partial = false;
  for (int field = 0; field < 3; ++field) {
    auto space = line.find(' ', at);
    if (space == std::string_view::npos) return "";
    if (field == 2) partial = line.substr(at, space - at).starts_with('P');
    at = space + 1;
  }
  return std::string(line.substr(at)) + (partial ? "" : "\n");
}

}  // namespace

std::string log_tail(const host::Path& log) {
  auto fd = host::open_file(log, O_RDONLY | O_NOFOLLOW);
  if (!fd) return "";
  struct stat info{};
  if (fstat(fd->get(), &info) != 0 || !S_ISREG(info.st_mode)) return "";
  std::string raw(static_cast<size_t>(std::min<off_t>(info.st_size, kRead)), '\0');
  auto n = pread(fd->get(), raw.data(), raw.size(), info.st_size - static_cast<off_t>(raw.size()));
  if (n <= 0) return "";
  raw.resize(static_cast<size_t>(n));
  std::string_view rest = raw;
  if (static_cast<off_t>(raw.size()) < info.st_size) {  // begins within a line
    auto newline = rest.find('\n');
    rest.remove_prefix(newline == std::string_view::npos ? rest.size() : newline + 1);
  }
  std::string text;
  while (!rest.empty()) {
    auto newline = rest.find('\n');
    text += content_of(rest.substr(0, newline));
    rest.remove_prefix(newline == std::string_view::npos ? rest.size() : newline + 1);
  }
  size_t lines = 0, from = text.size();
  while (from > 0 && text.size() - from < kBytes) {
    if (text[from - 1] == '\n' && from != text.size() && ++lines == kLines) break;
    --from;
  }
  return text.substr(from);
}

void remove_log(const host::Path& log) {
  auto name = log.filename().string();
  auto entries = host::list_directory(log.parent_path());
  if (!entries) return;
  for (const auto& entry : *entries) {
    if (entry == name || entry.starts_with(name + ".")) ::unlink((log.parent_path() / entry).c_str());
  }
}

}  // namespace keelson::pods
