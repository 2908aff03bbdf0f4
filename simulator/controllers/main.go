// Command redis is an in-memory Redis server for the simulated lab: Argo CD's
// cache, with the arguments that its manifests give to redis-server. Nothing is
// ever saved, which is also what those manifests ask for.
package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// Keys expire when the server's clock is moved; this is how often it is.
const tick = time.Second

type settings struct{ address, port, password string }

// parse reads redis-server's arguments. One argument can hold an option and its
// value ("--requirepass secret"): redis-server joins its arguments to a
// configuration file.
func parse(arguments []string) (settings, error) {
	found := settings{address: "0.0.0.0", port: "6379"}
	words := []string{}
	for _, argument := range arguments {
		if option, value, joined := strings.Cut(argument, " "); joined && strings.HasPrefix(option, "--") {
			words = append(words, option, value)
		} else {
			words = append(words, argument)
		}
	}
	for i := 0; i < len(words); i += 2 {
		if i+1 == len(words) {
			return found, fmt.Errorf("option %s has no value", words[i])
		}
		switch option, value := words[i], words[i+1]; option {
		case "--port":
			found.port = value
		case "--bind":
			found.address = value
		case "--requirepass":
			found.password = value
		case "--save":
			if value != "" {
				return found, fmt.Errorf("%s %q: the lab's Redis saves nothing", option, value)
			}
		case "--appendonly":
			if value != "no" {
				return found, fmt.Errorf("%s %q: the lab's Redis saves nothing", option, value)
			}
		default:
			return found, fmt.Errorf("the lab's Redis does not know the option %s", option)
		}
	}
	return found, nil
}

func run() error {
	given, err := parse(os.Args[1:])
	if err != nil {
		return err
	}
	server := miniredis.NewMiniRedis()
	if given.password != "" {
		server.RequireAuth(given.password)
	}
	if err := server.StartAddr(net.JoinHostPort(given.address, given.port)); err != nil {
		return err
	}
	defer server.Close()
	fmt.Println("Ready to accept connections tcp on", server.Addr())
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	for {
		select {
		case <-stop:
			return nil
		case <-ticks.C:
			server.FastForward(tick)
		}
	}
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "redis:", err)
		os.Exit(1)
	}
}
