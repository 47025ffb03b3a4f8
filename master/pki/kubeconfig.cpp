#include "master/pki/kubeconfig.h"

#include <fmt/core.h>
#include <openssl/evp.h>

namespace keelson::pki {

namespace {

std::string base64(std::string_view text) {
  std::string out((text.size() + 2) / 3 * 4, '\0');
  // It ends with a NUL of its own, where std::string has one already.
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), reinterpret_cast<const unsigned char*>(text.data()),
                  static_cast<int>(text.size()));
  return out;
}

// As a YAML scalar that nothing can break out of: names come from the command line.
std::string yaml_scalar(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\x{:02x}", c);
    } else {
      out += c;
    }
  }
  return out + '"';
}

}  // namespace

std::string write_kubeconfig(const KubeconfigContent& content) {
  return fmt::format(
      "apiVersion: v1\n"
      "kind: Config\n"
      "clusters:\n"
      "- name: keelson\n"
      "  cluster:\n"
      "    server: {}\n"
      "    certificate-authority-data: {}\n"
      "users:\n"
      "- name: {}\n"
      "  user:\n"
      "    client-certificate-data: {}\n"
      "    client-key-data: {}\n"
      "contexts:\n"
      "- name: keelson\n"
      "  context:\n"
      "    cluster: keelson\n"
      "    user: {}\n"
      "current-context: keelson\n",
      yaml_scalar(content.server), base64(content.authority), yaml_scalar(content.user),
      base64(content.credentials.certificate), base64(content.credentials.key), yaml_scalar(content.user));
}

}  // namespace keelson::pki
