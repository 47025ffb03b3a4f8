#include "agent/pods/pull_secrets.h"

#include <rapidjson/document.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace keelson::pods {
namespace {

std::optional<std::string> decode_base64(std::string_view text) {
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string decoded;
  uint32_t bits = 0;
  int count = 0;
  for (char c : text) {
    if (c == '=' || c == '\n' || c == '\r') continue;
    auto value = kAlphabet.find(c);
    if (value == std::string_view::npos) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(value);
    count += 6;
    if (count >= 8) {
      count -= 8;
      decoded += static_cast<char>(bits >> count & 0xff);
    }
  }
  return decoded;
}

std::string text_of(const rapidjson::Value& object, const char* name) {
  auto found = object.FindMember(name);
  if (found == object.MemberEnd() || !found->value.IsString()) return "";
  return {found->value.GetString(), found->value.GetStringLength()};
}

// "https://index.docker.io/v1/" and "registry.example:5000/team" → host[:port][/path].
std::string registry_of(std::string name) {
  if (auto scheme = name.find("://"); scheme != std::string::npos) name.erase(0, scheme + 3);
  while (name.ends_with('/')) name.pop_back();
  for (const char* version : {"/v1", "/v2"}) {
    if (name.ends_with(version)) name.resize(name.size() - 3);
  }
  if (name == "index.docker.io" || name == "registry-1.docker.io") return "docker.io";
  return name;
}

void add_entries(const rapidjson::Value& entries, std::vector<api::RegistryCredential>& credentials) {
  if (!entries.IsObject()) return;
  for (const auto& entry : entries.GetObject()) {
    if (!entry.value.IsObject()) continue;
    api::RegistryCredential credential;
    credential.registry = registry_of({entry.name.GetString(), entry.name.GetStringLength()});
    credential.username = text_of(entry.value, "username");
    credential.password = text_of(entry.value, "password");
    if (auto pair = decode_base64(text_of(entry.value, "auth")); pair && !pair->empty()) {
      auto colon = pair->find(':');
      if (colon == std::string::npos) continue;
      credential.username = pair->substr(0, colon);
      credential.password = pair->substr(colon + 1);
    }
    if (!credential.username.empty() || !credential.password.empty()) credentials.push_back(std::move(credential));
  }
}

std::string secret_text(const api::Secret& secret, const char* key) {
  if (auto text = secret.string_data.find(key); text != secret.string_data.end()) return text->second;
  if (auto data = secret.data.find(key); data != secret.data.end()) return data->second.data;
  return "";
}

}  // namespace

std::vector<api::RegistryCredential> pull_credentials(const api::Pod& pod, const Objects& objects) {
  std::vector<api::RegistryCredential> credentials;
  for (const auto& ref : pod.spec.image_pull_secrets) {
    const auto* secret = objects.secret(pod.metadata.namespace_, ref.name);
    if (secret == nullptr) continue;
    for (const char* key : {".dockerconfigjson", ".dockercfg"}) {
      auto text = secret_text(*secret, key);
      rapidjson::Document document;
      document.Parse<rapidjson::kParseIterativeFlag>(text.data(), text.size());  // no recursion: depth is theirs
      if (document.HasParseError() || !document.IsObject()) continue;
      bool wrapped = document.HasMember("auths");
      add_entries(wrapped ? document["auths"] : static_cast<const rapidjson::Value&>(document), credentials);
    }
  }
  return credentials;
}

}  // namespace keelson::pods
