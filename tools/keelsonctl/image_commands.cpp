// keelsonctl images: on the store itself, so that it works with no agent running.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>

#include "agent/images/image_directory.h"
#include "agent/images/puller.h"
#include "tools/keelsonctl/commands.h"
#include "tools/keelsonctl/table.h"
#include "tools/keelsonctl/terminal.h"

namespace keelson::ctl {

namespace {

host::Result<std::unique_ptr<images::ImageDirectory>> open_images(const AgentOptions& options) {
  auto made = host::make_directories(options.root_dir);
  if (!made) return std::unexpected(std::move(made.error()));
  return images::ImageDirectory::open(options.root_dir / "images");
}

// What the agent's pods hold: by image id, and by the name that their specs have. Without
// an agent, what containers run on is known by their shims' locks, and is not removed.
host::Result<images::InUse> images_in_use(const AgentOptions& options, bool force) {
  images::InUse in_use;
  if (force) return in_use;
  auto agent = AgentClient::create(options);
  if (!agent) return std::unexpected(std::move(agent.error()));
  const auto json = agent->get("/pods");
  if (!json && json.error().code == host::Error::Code::unavailable) {
    fmt::print(stderr, "keelsonctl: the agent does not answer: images of Pods that do not run now count as unused\n");
    return in_use;
  }
  if (!json) return std::unexpected(json.error());
  auto pods = decode_pods(*json);
  if (!pods) return std::unexpected(std::move(pods.error()));
  for (const auto& pod : *pods) {
    for (const auto* list : {&pod.spec.containers, &pod.spec.init_containers}) {
      for (const auto& container : *list) in_use.insert(container.image);
    }
    for (const auto* list : {&pod.status.container_statuses, &pod.status.init_container_statuses}) {
      for (const auto& status : *list) {
        in_use.insert(status.image);
        in_use.insert(status.image_id);
        // "docker.io/library/nginx@sha256:…" and "sha256:…" both occur.
        if (const auto at = status.image_id.find("sha256:"); at != std::string::npos) {
          in_use.insert(status.image_id.substr(at));
        }
      }
    }
  }
  in_use.erase("");
  return in_use;
}

void print_removed(const images::Removed& removed) {
  for (const auto& reference : removed.references) fmt::print("removed {}\n", reference);
  fmt::print("{} layers, {} freed\n", removed.layers, size(removed.bytes));
}

void print_added(const std::vector<api::ImageInfo>& added, std::string_view verb) {
  for (const auto& image : added) {
    const auto& names = image.tags.empty() ? image.digests : image.tags;
    fmt::print("{} {} ({})\n", verb, names.empty() ? image.id : fmt::format("{}", fmt::join(names, ", ")),
               size(image.size));
  }
}

}  // namespace

int list_images(const AgentOptions& options, Format format) {
  auto store = open_images(options);
  if (!store) return say(store.error());
  const auto list = (*store)->list();
  if (!list) return say(list.error());
  if (format == Format::table || format == Format::wide) {
    write_all(STDOUT_FILENO, image_table(*list, format == Format::wide));
    return 0;
  }
  const auto text = render(image_json(*list), format);
  if (!text) return say(text.error());
  write_all(STDOUT_FILENO, *text);
  return 0;
}

int import_image(const AgentOptions& options, const std::string& file, const std::string& name) {
  auto store = open_images(options);
  if (!store) return say(store.error());
  const auto imported = images::import_images(**store, file, name);
  if (!imported) return say(imported.error());
  print_added(*imported, "imported");
  return 0;
}

int pull_image(const AgentOptions& options, const std::string& reference, const std::vector<std::string>& insecure,
               const std::string& ca_file) {
  auto store = open_images(options);
  if (!store) return say(store.error());
  images::PullRequest request;
  request.reference = reference;
  request.insecure_registries = insecure;
  request.ca_file = ca_file;
  const auto pulled = images::pull_image(**store, std::move(request));
  if (!pulled) return say(pulled.error());
  print_added({*pulled}, "pulled");
  return 0;
}

int remove_images(const AgentOptions& options, const std::vector<std::string>& references, bool force) {
  const auto in_use = images_in_use(options, force);
  if (!in_use) return say(in_use.error());
  auto store = open_images(options);
  if (!store) return say(store.error());
  int code = 0;
  for (const auto& reference : references) {
    const auto removed = (*store)->remove(reference, *in_use);
    if (removed) {
      print_removed(*removed);
    } else {
      code = say(removed.error());
    }
  }
  return code;
}

int prune_images(const AgentOptions& options, bool force) {
  const auto in_use = images_in_use(options, force);
  if (!in_use) return say(in_use.error());
  auto store = open_images(options);
  if (!store) return say(store.error());
  const auto removed =
      (*store)->prune(*in_use, std::chrono::system_clock::now(), [](const images::Removed&) { return false; });
  if (!removed) return say(removed.error());
  print_removed(*removed);
  return 0;
}

}  // namespace keelson::ctl
