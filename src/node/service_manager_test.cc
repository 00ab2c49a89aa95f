#include "node/service_manager.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <map>

namespace postern::node {
namespace {

using namespace std::chrono_literals;

/// A service manager's end of the socket.
class ServiceManagerTest : public testing::Test {
 protected:
  ServiceManagerTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "notify-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    path_ = folder_ / "socket";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.c_str(), path_.native().size());
    descriptor_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    EXPECT_EQ(::bind(descriptor_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    environment_["NOTIFY_SOCKET"] = path_;
  }
  ~ServiceManagerTest() override {
    ::close(descriptor_);
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  ServiceManager manager() {
    return ServiceManager([this](const char* name) -> std::optional<std::string> {
      const auto found = environment_.find(name);
      if (found == environment_.end()) return std::nullopt;
      return found->second;
    });
  }
  std::string heard() {
    std::string text(512, '\0');
    const auto size = ::recv(descriptor_, text.data(), text.size(), 0);
    text.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
    return text;
  }

  std::filesystem::path folder_, path_;
  int descriptor_ = -1;
  std::map<std::string, std::string> environment_;
};

TEST_F(ServiceManagerTest, EachStateIsOneDatagram) {
  auto manager = this->manager();
  manager.ready();
  manager.reloading();
  manager.alive();
  manager.stopping();
  EXPECT_EQ(heard(), "READY=1");
  EXPECT_TRUE(heard().starts_with("RELOADING=1\nMONOTONIC_USEC="));
  EXPECT_EQ(heard(), "WATCHDOG=1");
  EXPECT_EQ(heard(), "STOPPING=1");
  EXPECT_EQ(heard(), "");
}

TEST_F(ServiceManagerTest, AStatusIsOneLineAndSentOnChangeOnly) {
  auto manager = this->manager();
  manager.status("attached to gw1\nREADY=1");
  manager.status("attached to gw1\nREADY=1");
  manager.status("no parent");
  EXPECT_EQ(heard(), "STATUS=attached to gw1 READY=1");
  EXPECT_EQ(heard(), "STATUS=no parent");
  EXPECT_EQ(heard(), "");
}

TEST_F(ServiceManagerTest, TheWatchdogIsFedAtHalfOfItsTime) {
  EXPECT_EQ(manager().alive_interval(), std::nullopt);
  environment_["WATCHDOG_USEC"] = "60000000";
  EXPECT_EQ(manager().alive_interval(), Duration(30s));
  environment_["WATCHDOG_PID"] = std::to_string(::getpid());
  EXPECT_EQ(manager().alive_interval(), Duration(30s));
  environment_["WATCHDOG_PID"] = std::to_string(::getpid() + 1);
  EXPECT_EQ(manager().alive_interval(), std::nullopt) << "another process is meant";
  environment_.erase("WATCHDOG_PID");
  for (const char* wrong : {"", "0", "-1", "1s", "99999999999999999999"}) {
    environment_["WATCHDOG_USEC"] = wrong;
    EXPECT_EQ(manager().alive_interval(), std::nullopt) << wrong;
  }
}

TEST_F(ServiceManagerTest, WithoutAManagerNothingIsSent) {
  for (const std::string& wrong : {std::string(), std::string("relative"), std::string(300, '/')}) {
    environment_["NOTIFY_SOCKET"] = wrong;
    auto manager = this->manager();
    EXPECT_FALSE(manager.listens());
    manager.ready();
  }
  EXPECT_EQ(heard(), "");
  environment_["NOTIFY_SOCKET"] = folder_ / "nobody";
  manager().ready();  // returns
}

}  // namespace
}  // namespace postern::node
