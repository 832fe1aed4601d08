// SPDX-License-Identifier: Apache-2.0
// The Go side of the interoperability test, over the ttrpc package for Go. The messages of test.proto are
// described by struct tags, so nothing is generated: the package's generation up to 1.1 takes them as they are (gogo), later
// ones want the descriptors that are made of them here.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/runtime/protoiface"
	"google.golang.org/protobuf/runtime/protoimpl"
)

type EchoRequest struct {
	Text    string `protobuf:"bytes,1,opt,name=text,proto3"`
	DelayMs uint32 `protobuf:"varint,2,opt,name=delay_ms,proto3"`
	Code    int32  `protobuf:"varint,3,opt,name=code,proto3"`
}

func (m *EchoRequest) Reset()                             { *m = EchoRequest{} }
func (m *EchoRequest) String() string                     { return m.Text }
func (*EchoRequest) ProtoMessage()                        {}
func (m *EchoRequest) ProtoReflect() protoreflect.Message { return echoRequestInfo.MessageOf(m) }

type EchoReply struct {
	Text string `protobuf:"bytes,1,opt,name=text,proto3"`
}

func (m *EchoReply) Reset()                             { *m = EchoReply{} }
func (m *EchoReply) String() string                     { return m.Text }
func (*EchoReply) ProtoMessage()                        {}
func (m *EchoReply) ProtoReflect() protoreflect.Message { return echoReplyInfo.MessageOf(m) }

// The same fields again: a descriptor is made of the tags of a type that has none yet.
type echoRequestFields EchoRequest

func (m *echoRequestFields) Reset()       { *m = echoRequestFields{} }
func (*echoRequestFields) String() string { return "" }
func (*echoRequestFields) ProtoMessage()  {}

type echoReplyFields EchoReply

func (m *echoReplyFields) Reset()       { *m = echoReplyFields{} }
func (*echoReplyFields) String() string { return "" }
func (*echoReplyFields) ProtoMessage()  {}

var (
	echoRequestInfo = messageInfo((*EchoRequest)(nil), (*echoRequestFields)(nil))
	echoReplyInfo   = messageInfo((*EchoReply)(nil), (*echoReplyFields)(nil))
)

func messageInfo(message interface{}, fields protoiface.MessageV1) *protoimpl.MessageInfo {
	return &protoimpl.MessageInfo{
		GoReflectType: reflect.TypeOf(message),
		Desc:          protoimpl.X.MessageDescriptorOf(fields),
	}
}

const service = "kata.test.Echo"

func say(ctx context.Context, unmarshal func(interface{}) error) (interface{}, error) {
	var request EchoRequest
	if err := unmarshal(&request); err != nil {
		return nil, err
	}
	if request.DelayMs > 0 {
		select {
		case <-time.After(time.Duration(request.DelayMs) * time.Millisecond):
		case <-ctx.Done():
			return nil, status.Error(codes.DeadlineExceeded, "late")
		}
	}
	if request.Code != 0 {
		return nil, status.Error(codes.Code(request.Code), request.Text)
	}
	return &EchoReply{Text: request.Text}, nil
}

func serve(path string) error {
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	server, err := ttrpc.NewServer()
	if err != nil {
		return err
	}
	server.Register(service, map[string]ttrpc.Method{"Say": say})
	return server.Serve(context.Background(), listener)
}

func call(client *ttrpc.Client, timeout time.Duration, request *EchoRequest) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var reply EchoReply
	err := client.Call(ctx, service, "Say", request, &reply)
	return reply.Text, err
}

func expectText(client *ttrpc.Client, text string) error {
	got, err := call(client, 20*time.Second, &EchoRequest{Text: text, DelayMs: 1})
	if err == nil && got != text {
		err = fmt.Errorf("another text came back, %d bytes", len(got))
	}
	return err
}

func check(path string) error {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	client := ttrpc.NewClient(conn)
	defer client.Close()
	var group sync.WaitGroup
	failures := make(chan error, 50)
	for i := 0; i < 50; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			if err := expectText(client, fmt.Sprint("call ", i)); err != nil {
				failures <- err
			}
		}(i)
	}
	group.Wait()
	close(failures)
	for err := range failures {
		return fmt.Errorf("concurrent calls: %w", err)
	}
	if err := expectText(client, strings.Repeat("m", 1<<20)); err != nil {
		return fmt.Errorf("1 MiB: %w", err)
	}
	_, err = call(client, 20*time.Second, &EchoRequest{Text: "no such thing", Code: int32(codes.NotFound)})
	if got := status.Convert(err); got.Code() != codes.NotFound || got.Message() != "no such thing" {
		return fmt.Errorf("status: %v", err)
	}
	if _, err = call(client, 50*time.Millisecond, &EchoRequest{Text: "slow", DelayMs: 1000}); err == nil {
		return fmt.Errorf("a late call succeeded")
	}
	var reply EchoReply
	err = client.Call(context.Background(), service, "Shout", &EchoRequest{}, &reply)
	if status.Code(err) != codes.Unimplemented {
		return fmt.Errorf("unknown method: %v", err)
	}
	return expectText(client, "still alive")
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: peer server|client SOCKET")
		os.Exit(2)
	}
	run := check
	if os.Args[1] == "server" {
		run = serve
	}
	if err := run(os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "go", os.Args[1]+":", err)
		os.Exit(1)
	}
}
