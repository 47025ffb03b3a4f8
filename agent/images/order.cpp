#include "agent/images/order.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "agent/images/json.h"

namespace keelson::images {

namespace {

using host::Error;
using host::fail;
using host::Result;
using host::sys_fail;

constexpr std::array<std::pair<Error::Code, const char*>, 7> kCodes = {{{Error::Code::failed, "failed"},
                                                                        {Error::Code::not_found, "not_found"},
                                                                        {Error::Code::exists, "exists"},
                                                                        {Error::Code::invalid, "invalid"},
                                                                        {Error::Code::denied, "denied"},
                                                                        {Error::Code::unavailable, "unavailable"},
                                                                        {Error::Code::unsupported, "unsupported"}}};

}  // namespace

std::string encode(const Order& order) {
  rapidjson::StringBuffer buffer;
  JsonWriter writer(buffer);
  writer.StartObject();
  write_member(writer, "parent", static_cast<uint64_t>(order.parent));
  write_member(writer, "bytes", order.bytes);
  write_member(writer, "inodes", order.inodes);
  write_member(writer, "import", static_cast<uint64_t>(order.request.import));
  write_member(writer, "reference", order.request.reference);
  write_member(writer, "caFile", order.request.ca_file);
  write_member(writer, "insecureRegistries", order.request.insecure_registries);
  writer.Key("credentials");
  writer.StartArray();
  for (const auto& credential : order.request.credentials) {
    writer.StartObject();
    write_member(writer, "registry", credential.registry);
    write_member(writer, "username", credential.username);
    write_member(writer, "password", credential.password);
    writer.EndObject();
  }
  writer.EndArray();
  writer.EndObject();
  return std::string(buffer.GetString(), buffer.GetSize()) + "\n";
}

Result<Order> decode_order(std::string_view text) {
  auto document = parse_json_object(text, "the puller's order", kMaxOrderLine);
  if (!document) return std::unexpected(std::move(document.error()));
  Order order;
  order.parent = static_cast<pid_t>(number_member(*document, "parent"));
  order.bytes = number_member(*document, "bytes");
  order.inodes = number_member(*document, "inodes");
  order.request.import = number_member(*document, "import") != 0;
  order.request.reference = string_member(*document, "reference");
  order.request.ca_file = string_member(*document, "caFile");
  order.request.insecure_registries = strings_member(*document, "insecureRegistries");
  if (const auto* credentials = array_member(*document, "credentials")) {
    for (const auto& value : credentials->GetArray()) {
      if (!value.IsObject()) continue;
      order.request.credentials.push_back(
          {string_member(value, "registry"), string_member(value, "username"), string_member(value, "password")});
    }
  }
  return order;
}

const char* name_of(Error::Code code) {
  for (const auto& [value, name] : kCodes) {
    if (value == code) return name;
  }
  return "failed";
}

Error::Code code_of(std::string_view name) {
  for (const auto& [value, text] : kCodes) {
    if (name == text) return value;
  }
  return Error::Code::failed;
}

Result<bool> LineReader::fill() {
  std::array<char, 4096> chunk;
  ssize_t got = read(fd_, chunk.data(), chunk.size());
  if (got < 0) return errno == EINTR ? Result<bool>(true) : Result<bool>(sys_fail("read from the puller"));
  buffer_.append(chunk.data(), static_cast<size_t>(got));
  if (buffer_.size() > kMaxOrderLine && buffer_.find('\n') == buffer_.npos)
    return fail("the puller's line is too long");
  return got > 0;
}

std::optional<std::string> LineReader::take() {
  size_t end = buffer_.find('\n');
  if (end == buffer_.npos) return std::nullopt;
  std::string line = buffer_.substr(0, end);
  buffer_.erase(0, end + 1);
  return line;
}

}  // namespace keelson::images
