#pragma once
// A list as it comes from the server, object by object: what is in memory at a time is one
// object's text, however long the list. Pure, but for the objects it makes.

#include <functional>
#include <string>
#include <string_view>

#include "api/resource.h"
#include "host/error.h"

namespace keelson::apiclient {

class ListReader {
 public:
  explicit ListReader(const api::Resource& resource) : resource_(resource) {}

  // The next part of the text, torn anywhere. After an error nothing more may be fed.
  host::Status feed(std::string_view part, const std::function<void(api::AnyObject)>& item);
  // The text is at its end. Invalid: it is not a whole list of that kind.
  host::Result<api::ListMeta> finish();

 private:
  // Where in the text we are: outside of "items", between its items, or within one.
  enum class Place { around, between, item };

  host::Status around(char c);
  host::Status take_item(const std::function<void(api::AnyObject)>& item);

  const api::Resource& resource_;
  Place place_ = Place::around;
  int depth_ = 0;  // of objects and lists; within an item from its own brace on
  bool in_string_ = false, escaped_ = false;
  bool after_colon_ = false;
  std::string word_;      // the last string at depth 1, which may be a key
  std::string envelope_;  // all but the items
  std::string text_;      // of the item
  bool seen_items_ = false;
};

// A watch's answer, cut into its events, one a line.
class LineReader {
 public:
  // line() for each that is complete, without its end; it may call for an end by returning
  // false. Invalid: a line longer than the API's objects can be.
  host::Status feed(std::string_view part, const std::function<bool(std::string_view line)>& line);
  bool empty() const { return rest_.empty(); }

 private:
  std::string rest_;
};

}  // namespace keelson::apiclient
