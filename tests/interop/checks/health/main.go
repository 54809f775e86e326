// Command health: a client of grpc-go that balances over two servers and asks each for its health, while one after the other
// is stopped, killed and started again. No call fails, and none goes to a server that says that it is stopping.
//
//	health LONGRUN GRPC_HEALTH_PROBE SERVICE_CONFIG.json
package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/health" // makes the client ask
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

const deadline = 30 * time.Second

// Exit codes of grpc-health-probe.
const (
	serving     = 0
	unreachable = 2
	failed      = 3
	notServing  = 4
)

// How long the handler of a stopping server still works.
const handlerTime = 8 * time.Second

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// A server over a store of its own, which outlives it.
type server struct {
	binary, directory, address string
	process                    *exec.Cmd
	ended                      chan struct{}
}

func (s *server) start() {
	handler := fmt.Sprintf("slow=touch running; sleep %d", handlerTime/time.Second)
	store := "sqlite:" + filepath.Join(s.directory, "longrun.db")
	s.process = exec.Command(s.binary, "serve", "--listen", s.address, "--store", store, "--handler", handler)
	s.process.Dir, s.process.Stderr = s.directory, os.Stderr
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := s.process.StdoutPipe()
	must(err)
	must(s.process.Start())
	_, err = bufio.NewReader(out).ReadString('\n')
	must(err)
	ended := make(chan struct{})
	s.ended = ended
	go func(process *exec.Cmd) {
		process.Wait()
		close(ended)
	}(s.process)
}

// untilRunning waits for the handler to have begun.
func (s *server) untilRunning() {
	for end := time.Now().Add(deadline); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(s.directory, "running")); err == nil {
			return
		}
	}
	log.Fatal("the handler did not start")
}

func (s *server) signal(signal syscall.Signal) { must(s.process.Process.Signal(signal)) }

func (s *server) hasEnded() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

func freeAddress() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	defer listener.Close()
	return listener.Addr().String()
}

// A longrun.v1.SubmitRequest of this kind and key, as a message that needs no generated code.
func submission(kind, key string) proto.Message {
	fields := protowire.AppendTag(nil, 1, protowire.BytesType)
	fields = protowire.AppendString(fields, kind)
	fields = protowire.AppendTag(fields, 6, protowire.BytesType)
	fields = protowire.AppendString(fields, key)
	message := &emptypb.Empty{}
	must(proto.Unmarshal(fields, message))
	return message
}

// call returns the address of the server that has answered.
func call(connection *grpc.ClientConn, method string, request proto.Message) string {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	var from peer.Peer
	err := connection.Invoke(ctx, "/longrun.v1.Operations/"+method, request, &emptypb.Empty{}, grpc.Peer(&from))
	if err != nil {
		log.Fatalf("%s failed: %v", method, err)
	}
	return from.Addr.String()
}

// Calls one after the other, and how many each server has answered since they were last counted. Counted are lists, which a
// server that is stopping still answers: what keeps them away from it is the check of its health alone.
type calls struct {
	mutex    sync.Mutex
	answered map[string]int
	total    int
}

func (c *calls) run(connection *grpc.ClientConn) {
	for n := 0; ; n++ {
		call(connection, "Submit", submission("nobody", fmt.Sprintf("key-%d", n)))
		var from [2]string // an odd number of calls, so that lists take both turns
		for n := range from {
			from[n] = call(connection, "ListOperations", &emptypb.Empty{})
		}
		c.mutex.Lock()
		c.answered[from[0]]++
		c.answered[from[1]]++
		c.total += 3
		c.mutex.Unlock()
	}
}

// until waits for a stretch of 20 calls that the given servers, and no others, have answered.
func (c *calls) until(what string, servers ...*server) {
	for end := time.Now().Add(deadline); time.Now().Before(end); {
		c.mutex.Lock()
		c.answered = map[string]int{}
		c.mutex.Unlock()
		for sum := 0; sum < 20 && time.Now().Before(end); time.Sleep(time.Millisecond) {
			c.mutex.Lock()
			sum = 0
			for _, count := range c.answered {
				sum += count
			}
			c.mutex.Unlock()
		}
		c.mutex.Lock()
		matches := len(c.answered) == len(servers)
		for _, one := range servers {
			matches = matches && c.answered[one.address] > 0
		}
		c.mutex.Unlock()
		if matches {
			return
		}
	}
	log.Fatalf("never: %s; answered: %v", what, c.answered)
}

// Servers end with the thread that has started them.
func init() { runtime.LockOSThread() }

func main() {
	binary, probe := os.Args[1], os.Args[2]
	serviceConfig, err := os.ReadFile(os.Args[3])
	must(err)

	var servers [2]*server
	var addresses []resolver.Address
	for n := range servers {
		directory, err := os.MkdirTemp("", "longrun-health-")
		must(err)
		defer os.RemoveAll(directory)
		servers[n] = &server{binary: binary, directory: directory, address: freeAddress()}
		servers[n].start()
		defer func() { servers[n].process.Process.Kill() }()
		addresses = append(addresses, resolver.Address{Addr: servers[n].address})
	}
	first, second := servers[0], servers[1]

	probed := func(what string, s *server, service string, expected int) {
		command := exec.Command(probe, "-addr", s.address, "-service", service)
		out, _ := command.CombinedOutput()
		if code := command.ProcessState.ExitCode(); code != expected {
			log.Fatalf("grpc-health-probe of %s, %q: exit code %d, %s", what, service, code, out)
		}
	}
	for _, service := range []string{"", "longrun.v1.Operations", "longrun.v1.Workers", "google.longrunning.Operations", "liveness"} {
		probed("a server that serves", first, service, serving)
	}
	probed("a server that serves", first, "no.such.Service", failed)

	balanced := manual.NewBuilderWithScheme("two")
	balanced.InitialState(resolver.State{Addresses: addresses})
	connection, err := grpc.NewClient("two:///", grpc.WithResolvers(balanced), grpc.WithAuthority("localhost"),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultServiceConfig(string(serviceConfig)))
	must(err)
	answered := &calls{answered: map[string]int{}}
	go answered.run(connection)
	answered.until("calls go to both servers", first, second)

	// A server that stops: clients leave it while it finishes its work.
	direct, err := grpc.NewClient(first.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(err)
	call(direct, "Submit", submission("slow", "slow"))
	first.untilRunning()
	first.signal(syscall.SIGTERM)
	answered.until("clients leave a server that is stopping", second)
	probed("a server that is stopping", first, "longrun.v1.Operations", notServing)
	probed("a server that is stopping", first, "liveness", serving)
	if first.hasEnded() {
		log.Fatal("clients left the server only when it had ended")
	}
	<-first.ended
	probed("a server that is gone", first, "", unreachable)
	first.start()
	answered.until("clients come back to a server that has started again", first, second)

	// A server that is killed.
	second.signal(syscall.SIGKILL)
	<-second.ended
	answered.until("clients leave a server that was killed", first)
	second.start()
	answered.until("clients come back to a server that was killed", first, second)
	fmt.Printf("no call of %d failed\n", answered.total)
}
