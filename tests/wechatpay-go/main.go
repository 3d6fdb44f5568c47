// Points the official WeChat Pay SDK at a running sandbox and lives through a payment with it, once with
// downloaded platform certificates and once with the WeChat Pay public key. Exits non-zero when the SDK is
// not satisfied with anything.
//
//	go run . http://127.0.0.1:8081
package main

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/wechatpay-apiv3/wechatpay-go/core"
	"github.com/wechatpay-apiv3/wechatpay-go/core/auth"
	"github.com/wechatpay-apiv3/wechatpay-go/core/auth/verifiers"
	"github.com/wechatpay-apiv3/wechatpay-go/core/downloader"
	"github.com/wechatpay-apiv3/wechatpay-go/core/notify"
	"github.com/wechatpay-apiv3/wechatpay-go/core/option"
	"github.com/wechatpay-apiv3/wechatpay-go/services/payments"
	"github.com/wechatpay-apiv3/wechatpay-go/services/payments/jsapi"
	"github.com/wechatpay-apiv3/wechatpay-go/services/refunddomestic"
	"github.com/wechatpay-apiv3/wechatpay-go/utils"
)

const bound = 15 * time.Second

// redirect sends what is meant for WeChat Pay to the sandbox; everything else goes where it is meant to.
type redirect struct {
	sandbox *url.URL
	next    http.RoundTripper
}

func (r redirect) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Host == "api.mch.weixin.qq.com" {
		request = request.Clone(request.Context())
		request.URL.Scheme, request.URL.Host, request.Host = r.sandbox.Scheme, r.sandbox.Host, ""
	}
	return r.next.RoundTrip(request)
}

// keys is what GET /sandbox/keys answers.
type keys struct {
	Appid          string `json:"appid"`
	Mchid          string `json:"mchid"`
	MerchantSerial string `json:"merchant_serial"`
	PrivateKeyPem  string `json:"merchant_private_key_pem"`
	Apiv3Key       string `json:"apiv3_key"`
	PublicKeyID    string `json:"public_key_id"`
	PublicKeyPem   string `json:"public_key_pem"`
	privateKey     *rsa.PrivateKey
	publicKey      *rsa.PublicKey
}

// control calls the sandbox's own API.
func control(sandbox, method, path string, body, answer any) error {
	sent, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequest(method, sandbox+"/sandbox"+path, bytes.NewReader(sent))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %d %s", method, path, response.StatusCode, text)
	}
	return json.Unmarshal(text, answer)
}

// shop listens for callbacks and parses them with the SDK.
type shop struct {
	url      string
	payments chan *payments.Transaction
	refunds  chan map[string]any
	failures chan error
}

func listen(apiv3Key string, verifier auth.Verifier) (*shop, error) {
	handler, err := notify.NewRSANotifyHandler(apiv3Key, verifier)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &shop{
		url:      "http://" + listener.Addr().String(),
		payments: make(chan *payments.Transaction, 8),
		refunds:  make(chan map[string]any, 8),
		failures: make(chan error, 8),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/pay", func(w http.ResponseWriter, r *http.Request) {
		transaction := new(payments.Transaction)
		if _, err := handler.ParseNotifyRequest(r.Context(), r, transaction); err != nil {
			s.failures <- err
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		s.payments <- transaction
	})
	mux.HandleFunc("/refund", func(w http.ResponseWriter, r *http.Request) {
		content := make(map[string]any)
		if _, err := handler.ParseNotifyRequest(r.Context(), r, &content); err != nil {
			s.failures <- err
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		s.refunds <- content
		w.WriteHeader(http.StatusNoContent)
	})
	go func() { _ = http.Serve(listener, mux) }()
	return s, nil
}

func wait[T any](what string, arrivals chan T, failures chan error) (T, error) {
	var none T
	select {
	case arrived := <-arrivals:
		return arrived, nil
	case err := <-failures:
		return none, fmt.Errorf("%s: %w", what, err)
	case <-time.After(bound):
		return none, fmt.Errorf("%s did not arrive within %s", what, bound)
	}
}

func expect(what string, got, want any) error {
	if fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("%s is %v, expected %v", what, got, want)
	}
	return nil
}

// story: prepay, pay, notification, query, refund, notification, query, close another.
func story(ctx context.Context, sandbox string, k keys, client *core.Client, s *shop, prefix string) error {
	var user struct{ Openid string }
	if err := control(sandbox, "POST", "/login-codes", map[string]string{"name": "go-sdk"}, &user); err != nil {
		return err
	}
	number := fmt.Sprintf("%s%d", prefix, time.Now().UnixNano())
	api := jsapi.JsapiApiService{Client: client}
	prepay := func(number string) (*jsapi.PrepayWithRequestPaymentResponse, error) {
		answer, _, err := api.PrepayWithRequestPayment(ctx, jsapi.PrepayRequest{
			Appid:       core.String(k.Appid),
			Mchid:       core.String(k.Mchid),
			Description: core.String("苹果 2 斤"),
			OutTradeNo:  core.String(number),
			Attach:      core.String("from the SDK"),
			TimeExpire:  core.Time(time.Now().Add(30 * time.Minute)),
			NotifyUrl:   core.String(s.url + "/pay"),
			Amount:      &jsapi.Amount{Total: core.Int64(1990), Currency: core.String("CNY")},
			Payer:       &jsapi.Payer{Openid: core.String(user.Openid)},
		})
		return answer, err
	}
	started, err := prepay(number)
	if err != nil {
		return fmt.Errorf("prepay: %w", err)
	}
	var paid struct {
		ErrMsg string `json:"errMsg"`
	}
	err = control(sandbox, "POST", "/payments/"+*started.PrepayId+"/pay", map[string]any{
		"timeStamp": *started.TimeStamp, "nonceStr": *started.NonceStr, "package": *started.Package,
		"signType": *started.SignType, "paySign": *started.PaySign, "openid": user.Openid,
	}, &paid)
	if err != nil {
		return fmt.Errorf("the phone pays: %w", err)
	}
	notified, err := wait("the payment notification", s.payments, s.failures)
	if err != nil {
		return err
	}
	queried, _, err := api.QueryOrderByOutTradeNo(ctx, jsapi.QueryOrderByOutTradeNoRequest{
		OutTradeNo: core.String(number), Mchid: core.String(k.Mchid),
	})
	if err != nil {
		return fmt.Errorf("query by number: %w", err)
	}
	byID, _, err := api.QueryOrderById(ctx, jsapi.QueryOrderByIdRequest{
		TransactionId: queried.TransactionId, Mchid: core.String(k.Mchid),
	})
	if err != nil {
		return fmt.Errorf("query by transaction: %w", err)
	}
	if err := errors.Join(
		expect("trade_state", *queried.TradeState, "SUCCESS"),
		expect("total", *queried.Amount.Total, 1990),
		expect("payer", *queried.Payer.Openid, user.Openid),
		expect("attach", *queried.Attach, "from the SDK"),
		expect("the notified transaction", *notified.TransactionId, *queried.TransactionId),
		expect("the number of that transaction", *byID.OutTradeNo, number),
	); err != nil {
		return err
	}
	if err := refund(ctx, client, s, number); err != nil {
		return err
	}
	other := number + "c"
	if _, err := prepay(other); err != nil {
		return fmt.Errorf("prepay of another: %w", err)
	}
	closed, err := api.CloseOrder(ctx, jsapi.CloseOrderRequest{
		OutTradeNo: core.String(other), Mchid: core.String(k.Mchid),
	})
	if err != nil {
		return fmt.Errorf("close: %w", err)
	}
	if err := expect("the answer to close", closed.Response.StatusCode, http.StatusNoContent); err != nil {
		return err
	}
	_, err = prepay(other)
	if !core.IsAPIError(err, "INVALID_REQUEST") {
		return fmt.Errorf("prepay of a closed number: %v, expected INVALID_REQUEST", err)
	}
	return nil
}

func refund(ctx context.Context, client *core.Client, s *shop, number string) error {
	api := refunddomestic.RefundsApiService{Client: client}
	accepted, _, err := api.Create(ctx, refunddomestic.CreateRequest{
		OutTradeNo:  core.String(number),
		OutRefundNo: core.String("r" + number),
		Reason:      core.String("不想要了"),
		NotifyUrl:   core.String(s.url + "/refund"),
		Amount: &refunddomestic.AmountReq{
			Refund: core.Int64(990), Total: core.Int64(1990), Currency: core.String("CNY"),
		},
	})
	if err != nil {
		return fmt.Errorf("refund: %w", err)
	}
	notified, err := wait("the refund notification", s.refunds, s.failures)
	if err != nil {
		return err
	}
	queried, _, err := api.QueryByOutRefundNo(ctx, refunddomestic.QueryByOutRefundNoRequest{
		OutRefundNo: core.String("r" + number),
	})
	if err != nil {
		return fmt.Errorf("query of the refund: %w", err)
	}
	return errors.Join(
		expect("the notified refund_status", notified["refund_status"], "SUCCESS"),
		expect("the status of the refund", *queried.Status, "SUCCESS"),
		expect("refund_id", *queried.RefundId, *accepted.RefundId),
		expect("payer_refund", *queried.Amount.PayerRefund, 990),
	)
}

// echo: the message goes out encrypted with WeChat's key and comes back encrypted with the merchant's.
func echo(ctx context.Context, client *core.Client, k keys) error {
	sealed, err := utils.EncryptOAEPWithPublicKey("秘密", k.publicKey)
	if err != nil {
		return err
	}
	result, err := client.Request(ctx, http.MethodPost, "https://api.mch.weixin.qq.com/v3/security/echo",
		http.Header{"Wechatpay-Serial": {k.PublicKeyID}}, nil,
		map[string]string{"echo_message": "hello", "encrypted_echo_message": sealed}, "application/json")
	if err != nil {
		return fmt.Errorf("echo: %w", err)
	}
	var answer struct {
		Message   string `json:"echo_message"`
		Encrypted string `json:"encrypted_echo_message"`
	}
	if err := core.UnMarshalResponse(result.Response, &answer); err != nil {
		return err
	}
	opened, err := utils.DecryptOAEP(answer.Encrypted, k.privateKey)
	if err != nil {
		return fmt.Errorf("opening the echo: %w", err)
	}
	return errors.Join(expect("echo_message", answer.Message, "hello"), expect("the echo", opened, "秘密"))
}

func run(sandbox string) error {
	target, err := url.Parse(sandbox)
	if err != nil {
		return err
	}
	http.DefaultTransport = redirect{sandbox: target, next: http.DefaultTransport}
	ctx, cancel := context.WithTimeout(context.Background(), 4*bound)
	defer cancel()
	var k keys
	if err := control(sandbox, "GET", "/keys", nil, &k); err != nil {
		return err
	}
	if k.privateKey, err = utils.LoadPrivateKey(k.PrivateKeyPem); err != nil {
		return err
	}
	if k.publicKey, err = utils.LoadPublicKey(k.PublicKeyPem); err != nil {
		return err
	}

	byCertificate, err := core.NewClient(ctx,
		option.WithWechatPayAutoAuthCipher(k.Mchid, k.MerchantSerial, k.privateKey, k.Apiv3Key))
	if err != nil {
		return fmt.Errorf("client with certificates: %w", err)
	}
	visitor := downloader.MgrInstance().GetCertificateVisitor(k.Mchid)
	s, err := listen(k.Apiv3Key, verifiers.NewSHA256WithRSAVerifier(visitor))
	if err != nil {
		return err
	}
	if err := story(ctx, sandbox, k, byCertificate, s, "gocert"); err != nil {
		return fmt.Errorf("with platform certificates: %w", err)
	}
	fmt.Println("platform certificates: ok")

	byPublicKey, err := core.NewClient(ctx, option.WithWechatPayPublicKeyAuthCipher(
		k.Mchid, k.MerchantSerial, k.privateKey, k.PublicKeyID, k.publicKey))
	if err != nil {
		return fmt.Errorf("client with the public key: %w", err)
	}
	s, err = listen(k.Apiv3Key, verifiers.NewSHA256WithRSAPubkeyVerifier(k.PublicKeyID, *k.publicKey))
	if err != nil {
		return err
	}
	if err := story(ctx, sandbox, k, byPublicKey, s, "gopub"); err != nil {
		return fmt.Errorf("with the public key: %w", err)
	}
	if err := echo(ctx, byPublicKey, k); err != nil {
		return err
	}
	fmt.Println("public key: ok")
	return nil
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: wechatpay-go SANDBOX_URL")
	}
	if err := run(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}
